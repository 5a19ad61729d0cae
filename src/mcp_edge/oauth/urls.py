"""The server's own URLs; see `mcp_edge.urls`."""

from mcp_edge.urls import ENDPOINTS, Urls

__all__ = ["ENDPOINTS", "Urls"]
