"""Real clients and a real browser through whole authorizations, before two processes that take strict turns."""
