"""The API behind the tools, called with the credential of whoever calls the tool: `upstream()`. It knows no wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import httpx

from mcp_edge.audit import decided
from mcp_edge.errors import UpstreamError
from mcp_edge.outbound.answer_body import CODINGS
from mcp_edge.outbound.fetch import exchange
from mcp_edge.platform import Accounts
from mcp_edge.protocol.signing import mint
from mcp_edge.tools.current import current_call
from mcp_edge.user import User

_MOST_DECODINGS = 3
"""How often a path is decoded before it is judged: each of several proxies and servers may decode it once."""


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """The credential of the user's own account at the upstream."""

    accounts: Accounts
    user: User

    async def token(self) -> str:
        """A live access token.

        Raises:
            UpstreamError: no account is connected, or its provider cannot be reached.
            UrlElicitationRequiredError: the user is asked to connect one.
        """
        return await self.accounts.token(self.user.principal) or await self._ask(
            f"This needs your {self.accounts.label} account, which is not connected."
        )

    async def renewed(self, refused: str) -> str:
        """A new access token, after the upstream has refused the token `refused`.

        Raises:
            UpstreamError, UrlElicitationRequiredError: as `token`.
        """
        return await self.accounts.renewed(self.user.principal, refused) or await self.lost(refused)

    async def lost(self, refused: str) -> str:
        """Forget the account whose token `refused` the upstream takes no more, and ask for an account.

        Raises:
            UpstreamError, UrlElicitationRequiredError: as `token`.
        """
        await self.accounts.forget(self.user.principal, refused)
        decided("upstream", "refused", principal=self.user.principal, client=self.user.client, reason="account is gone")
        return await self._ask(f"{self.accounts.label} takes the credential of your account no more.")

    async def _ask(self, why: str) -> str:
        url = await self.accounts.invite(self.user.principal, self.user.grant)
        if not url:
            raise UpstreamError(f"{why} Authorize this app again to connect it.")
        from mcp.shared.exceptions import UrlElicitationRequiredError  # noqa: PLC0415 # not on the way of every call
        from mcp_types import ElicitRequestURLParams  # noqa: PLC0415

        message = f"{why} Open the link to connect it."
        raise UrlElicitationRequiredError(
            [ElicitRequestURLParams(message=message, url=url, elicitation_id=mint())], message
        )


@dataclass(frozen=True, slots=True)
class Upstream:
    """The API behind the tools, called with the caller's own credential. The host closes `client`."""

    base_url: str
    credential: str | OwnAccount = field(repr=False)
    """A token, or the account whose token is fetched for each request."""
    client: httpx.AsyncClient

    async def get(
        self,
        path: str,
        *,
        params: dict[str, str] | None = None,
        timeout_s: float = 10,
        max_bytes: int = 1024 * 1024,
    ) -> httpx.Response:
        """`request` with GET.

        Raises:
            UpstreamError, UrlElicitationRequiredError: as `request`.
        """
        return await self.request("GET", path, params=params, timeout_s=timeout_s, max_bytes=max_bytes)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: Any = None,
        timeout_s: float = 10,
        max_bytes: int = 1024 * 1024,
    ) -> httpx.Response:
        """Send `json`, if any, to `base_url + path` with the caller's bearer token: the whole answer, any status.

        The token reaches no other host, and nothing of that host that is not below `base_url`: redirects are not
        followed, and a path with `.` or `..` among its segments is refused, percent-encoded or not. Encode what becomes
        one segment of `path` with `urllib.parse.quote(text, safe="")`. A token of the user's own account that the API
        answers with 401 is renewed once; if that does not help, the account is forgotten and asked for anew.

        Raises:
            UpstreamError: no answer of at most `max_bytes` bytes came within `timeout_s` seconds, or there is no
                credential, or `path` leads elsewhere. What was sent may have taken effect.
            UrlElicitationRequiredError: the user has to connect an account first. Let it pass: it asks the user.
        """
        request = partial(
            self.client.build_request, method, _below(self.base_url, path), params=params, json=json, timeout=timeout_s
        )

        async def send(token: str) -> httpx.Response:
            sent = request(headers={"authorization": f"Bearer {token}", "accept": "application/json"})
            # Some APIs compress without being asked.
            return await exchange(self.client, sent, timeout_s=timeout_s, max_bytes=max_bytes, codings=CODINGS)

        return await self._with_token(send)

    async def _with_token(self, send: Callable[[str], Awaitable[httpx.Response]]) -> httpx.Response:
        """What `send` gets with the caller's token, renewed once if need be."""
        own = self.credential
        if isinstance(own, str):
            return await send(own)
        token = await own.token()
        response = await send(token)
        if response.status_code == 401:
            token = await own.renewed(token)
            response = await send(token)
            if response.status_code == 401:
                await own.lost(token)
        return response


def _below(base_url: str, path: str) -> httpx.URL:
    """`base_url + path`, which every reader of the URL finds below `base_url`.

    Raises:
        UpstreamError: the URL leads elsewhere, or a reader could think so.
    """
    decoded = path.partition("?")[0].partition("#")[0]
    for _ in range(_MOST_DECODINGS):
        decoded = unquote(decoded)
    # Servers take `\\` for `/`, and some drop what follows `;`, before they resolve the segments (RFC 3986 §5.2.4).
    segments = [segment.partition(";")[0] for segment in decoded.replace("\\", "/").split("/")]
    if path[:1] not in ("", "/", "?") or "." in segments or ".." in segments or not path.isprintable():
        raise UpstreamError("The path leads out of the upstream API; nothing was sent.")
    return httpx.URL(base_url + path)


def upstream() -> Upstream:
    """The upstream API with the current user's credential.

    The credential is the one that the settings have for this user; else that of the user's account at the provider that
    `MCP_UPSTREAM_ACCOUNT` names, which only users of an OAuth client have; else the deployment's.

    Raises:
        UpstreamError: neither the user nor the deployment has a credential.
    """
    call = current_call()
    settings, accounts = call.platform.settings, call.platform.accounts
    base_url, client = settings.upstream_url.rstrip("/"), call.platform.http()
    user = call.user
    own = settings.upstream_tokens.get(user.principal)
    # The same subject in another tenant is somebody else, and a subject may read as another user's principal.
    if own is None and not user.tenant and "|" not in user.subject:
        own = settings.upstream_tokens.get(user.subject)
    if own is None and accounts is not None and user.grant:
        return Upstream(base_url, OwnAccount(accounts, user), client)
    token = own or settings.upstream_token
    if token is None:
        raise UpstreamError("No upstream account is connected. Set MCP_UPSTREAM_TOKENS for you, or MCP_UPSTREAM_TOKEN.")
    return Upstream(base_url, token.get_secret_value(), client)


async def connected() -> bool:
    """True where the caller has an upstream credential; else the user is asked to connect an account.

    As a dependency, `_: Annotated[bool, Resolve(connected)]`, it asks before anything else of the tool runs.

    Raises:
        UpstreamError: there is no credential, and no account to connect.
        UrlElicitationRequiredError: the user is asked.
    """
    credential = upstream().credential
    if isinstance(credential, OwnAccount):
        await credential.token()
    return True
