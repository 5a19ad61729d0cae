"""The HTTP client for APIs behind tools and for identity providers: one for all users, so it remembers none of them."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from mcp_edge.outbound import answer_body


def client(transport: httpx.AsyncBaseTransport | None = None, *, trust_env: bool = True) -> httpx.AsyncClient:
    """A client that takes no cookie: what one user's answer sets would go out with the next user's request.

    It takes of an answer what `answer_body` allows, also of one that leads elsewhere.
    """
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(
        transport=transport,
        trust_env=trust_env,
        cookies=nothing,
        headers={"accept-encoding": ", ".join(answer_body.CODINGS)},
        event_hooks={"response": [answer_body.bound]},
    )
