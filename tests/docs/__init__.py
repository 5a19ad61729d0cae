"""The documentation is executed: commands, Python, JSON, links, generated tables."""
