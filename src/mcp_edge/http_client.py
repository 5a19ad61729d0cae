"""The HTTP client for APIs behind tools and for identity providers: one for all users, so it remembers none of them."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx


def client(transport: httpx.AsyncBaseTransport | None = None, *, trust_env: bool = True) -> httpx.AsyncClient:
    """A client that takes no cookie: what one user's answer sets would go out with the next user's request."""
    nothing = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(transport=transport, trust_env=trust_env, cookies=nothing)
