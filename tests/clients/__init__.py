"""Today's clients, as they are published, before two processes behind a strict round robin."""
