"""The server of this repository: an example to read, then to replace. `server.py` is where to begin."""
