"""The Worker, served unchanged on Pyodide under Node, with KV, D1 and the rate limit of Miniflare."""
