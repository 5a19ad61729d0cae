"""HTTP+SSE, revision 2024-11-05: `GET /sse` and `POST /messages`."""
