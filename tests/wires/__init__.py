"""Tests of the wires: the whole ASGI app, in process."""
