"""Who the user is: the providers that say so, and their tokens. It knows no client of ours and no MCP message."""
