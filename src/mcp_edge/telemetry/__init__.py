"""One event for each call, written by the host's sink."""
