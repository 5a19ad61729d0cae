"""The form that a client posts (RFC 6749 Appendix B), read once and within limits."""

from __future__ import annotations

from mcp_edge.auth.server.model import OAuthError
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.errors import BadRequest
from mcp_edge.protocol.request import Request

MAX_BODY_BYTES = 64 * 1024
_KIND = b"application/x-www-form-urlencoded"
_REPEATABLE = frozenset({"resource"})
"""RFC 8707 §2: the one parameter that may be sent several times."""


class Form:
    """The parameters that a client has posted to an endpoint."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def get(self, name: str) -> str | None:
        """The value of a parameter, or None."""
        return self._parameters.one(name) or None

    def need(self, name: str) -> str:
        """The value of a parameter that must be there.

        Raises:
            OAuthError: `invalid_request`.
        """
        found = self.get(name)
        if found is None:
            raise OAuthError("invalid_request", f"The parameter {name} is missing.")
        return found

    def resource(self) -> str | None:
        """The resource (RFC 8707). A token is for one.

        Raises:
            OAuthError: `invalid_target`: several are named.
        """
        found = set(self._parameters.all("resource"))
        if len(found) > 1:
            raise OAuthError("invalid_target", "A token is for one resource; ask for one at a time.")
        return found.pop() if found else None


async def read_form(request: Request) -> Form:
    """The form of a request.

    Raises:
        OAuthError: `invalid_request`: it is no form, or repeats a parameter (RFC 6749 §3.2).
        TooLarge: it is over `MAX_BODY_BYTES`.
    """
    if request.raw.get(b"content-type", b"").split(b";", 1)[0].strip(b" \t").lower() != _KIND:
        raise OAuthError("invalid_request", f"The content type must be {_KIND.decode()}.")
    body = await request.body(MAX_BODY_BYTES)
    try:
        parameters = Parameters.parse(body)
    except BadRequest as e:
        raise OAuthError("invalid_request", e.message) from None
    if parameters.repeated - _REPEATABLE:
        raise OAuthError("invalid_request", "A parameter appears more than once.")
    return Form(parameters)
