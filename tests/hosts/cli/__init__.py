"""The command line, driven as a person or a supervisor drives it."""
