"""`auth=access` behind a proxy of one's own that verifies client certificates, and names them in a header.

A header proves nothing by itself, so the proxy sends a secret beside it, which must never reach a client.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping

from mcp_edge.audit import decided
from mcp_edge.auth.authenticator import step_up
from mcp_edge.errors import ConfigurationError, Unauthenticated
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Request
from mcp_edge.text.ascii import lowered, stripped
from mcp_edge.user import User

SECRET_HEADER = b"x-proxy-secret"
MIN_SECRET_BYTES = 32
_MAX_CHARS = 512
_REPLACED = "\ufffd"
"""What a host that decodes headers itself puts in the place of bytes that are no UTF-8: several names become one."""


class ProxyCertificates:
    """Authenticates by the certificate's name, as the proxy writes it: a subject or a fingerprint."""

    def __init__(self, platform: Platform) -> None:
        """The settings name the header and the proxy's secret.

        Raises:
            ConfigurationError: the secret is missing or short.
        """
        settings = platform.settings
        secret = settings.proxy_secret.get_secret_value() if settings.proxy_secret else ""
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"MCP_CERTIFICATE_HEADER needs MCP_PROXY_SECRET of at least {MIN_SECRET_BYTES} bytes, which the proxy "
                "sends as X-Proxy-Secret: otherwise anybody could name a certificate."
            )
        self._secret = secret.encode()
        self._header = lowered(settings.certificate_header or "").encode()

    async def authenticate(self, request: Request) -> User:
        """The user whom the verified certificate names.

        Raises:
            Unauthenticated: the request did not come through the proxy, or without a certificate.
        """
        names = request.values(self._header)
        secrets = request.values(SECRET_HEADER)
        if not hmac.compare_digest(secrets[0] if len(secrets) == 1 else b"", self._secret):
            if names:
                decided(request.path, "refused", reason="a certificate was named, but not by the proxy")
            raise _refusal("This server is reached through its proxy only.")
        try:
            subject = _name(names)
        except ValueError as e:
            decided(request.path, "refused", reason=str(e))
            raise _refusal(f"A client certificate is needed: {e}.") from e
        return User(issuer="certificate", subject=subject, name=subject)

    def step_up(self, request: Request, needed: Collection[str]) -> Mapping[str, str]:
        """Never happens with client certificates; answered for completeness."""
        return step_up(request, needed)


def _name(values: list[bytes]) -> str:
    """The certificate's name, exactly as the proxy has sent it: two that were not sent alike are two users.

    Raises:
        ValueError: there is none that could be told apart from every other; it says why.
    """
    value = stripped(values[0]) if values else b""
    if not value:
        raise ValueError("the proxy named none")
    if len(values) > 1:
        raise ValueError("the proxy named two")
    try:
        name = value.decode()
    except UnicodeDecodeError:
        name = _REPLACED
    if _REPLACED in name:
        raise ValueError("its name is not UTF-8; the proxy may send its fingerprint instead")
    if len(name) > _MAX_CHARS:
        raise ValueError(f"its name is longer than {_MAX_CHARS} characters; the proxy may send its fingerprint instead")
    if not name.isprintable():
        raise ValueError("its name has characters that cannot be seen; the proxy may send its fingerprint instead")
    return name


def _refusal(message: str) -> Unauthenticated:
    headers = {"www-authenticate": "Bearer", "cache-control": "no-store"}
    return Unauthenticated(message, code=-32000, headers=headers)
