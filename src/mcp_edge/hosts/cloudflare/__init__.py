"""What a Worker needs beside its stores: the bridge from `fetch` to ASGI, upstream calls over `fetch`, the console."""
