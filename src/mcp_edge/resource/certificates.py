"""`auth=access` behind a proxy of one's own that verifies client certificates, and names them in a header.

A header proves nothing by itself, so the proxy sends a secret beside it, which must never reach a client.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping

from mcp_edge.audit import decided
from mcp_edge.context import User
from mcp_edge.credentials import step_up
from mcp_edge.errors import ConfigurationError, Unauthenticated
from mcp_edge.platform import Platform
from mcp_edge.request import Request

SECRET_HEADER = b"x-proxy-secret"
MIN_SECRET_BYTES = 32
_MAX_CHARS = 512


class ProxyCertificates:
    """Authenticates by the certificate's name, as the proxy writes it: a subject or a fingerprint."""

    def __init__(self, platform: Platform) -> None:
        """
        Raises:
            ConfigurationError: there is no secret, or a short one.
        """
        settings = platform.settings
        secret = settings.proxy_secret.get_secret_value() if settings.proxy_secret else ""
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"MCP_CERTIFICATE_HEADER needs MCP_PROXY_SECRET of at least {MIN_SECRET_BYTES} bytes, which the proxy "
                "sends as X-Proxy-Secret: otherwise anybody could name a certificate."
            )
        self._secret = secret.encode()
        self._header = (settings.certificate_header or "").lower().encode("latin-1", "replace")

    async def authenticate(self, request: Request) -> User:
        """The user.

        Raises:
            Unauthenticated: the request did not come through the proxy, or without a certificate.
        """
        names = [value for name, value in request.pairs if name == self._header]
        if not hmac.compare_digest(request.raw.get(SECRET_HEADER, b""), self._secret):
            if names:
                decided(request.path, "refused", reason="a certificate was named, but not by the proxy")
            raise _refusal("This server is reached through its proxy only.")
        subject = names[0].decode("latin-1").strip() if len(names) == 1 else ""
        if not 0 < len(subject) <= _MAX_CHARS or not subject.isprintable():
            decided(request.path, "refused", reason="the proxy named no certificate")
            raise _refusal("A client certificate is needed.")
        return User(issuer="certificate", subject=subject, name=subject)

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """Nobody is restricted here; said all the same."""
        return step_up(request, needed)


def _refusal(message: str) -> Unauthenticated:
    headers = {"www-authenticate": "Bearer", "cache-control": "no-store"}
    return Unauthenticated(message, code=-32000, headers=headers)
