"""The authorization server and the resource server's checks (docs/authorization.md). It knows no MCP message."""
