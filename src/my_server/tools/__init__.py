"""One file per tool, or per family of tools. Each has a `register(server)`, which `server.py` calls."""
