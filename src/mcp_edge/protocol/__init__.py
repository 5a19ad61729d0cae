"""Bytes, headers, signatures: HTTP and JSON-RPC as they are. No session, no store."""
