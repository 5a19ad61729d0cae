"""The command line: mcp-edge serve, settings, keys."""
