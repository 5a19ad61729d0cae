"""CORS of the paths that every origin may use. They take no cookie, so a page can do no more there than anybody can."""

from __future__ import annotations

from mcp_edge.protocol.request import Header, Request

_OPEN: list[Header] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"WWW-Authenticate, Retry-After"),
]


async def preflighted(request: Request, *methods: str) -> bool:
    """Give any answer to the request its CORS headers. Answer a preflight, and return True only then.

    Raises:
        MethodNotAllowed: the method is neither OPTIONS nor one of `methods`.
    """
    request.extra += _OPEN
    request.only(*methods, "OPTIONS")
    if request.method != "OPTIONS":
        return False
    # `*` does not cover Authorization, with which a confidential client authenticates (Fetch standard).
    asked = request.raw.get(b"access-control-request-headers", b"Authorization, Content-Type")
    await request.answer(
        204,
        headers=[
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", b"7200"),
        ],
    )
    return True
