"""The mode `auth=oauth`: access tokens authenticate, and this server issues them. Refusals become OAuth's JSON here.

It knows no grant and no page; `route_table` knows who handles which path.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING

from mcp_edge.audit import decided
from mcp_edge.auth.authenticator import access_keys
from mcp_edge.auth.resource.metadata import resource_metadata
from mcp_edge.auth.scopes import Scopes
from mcp_edge.auth.server.bearer import BearerTokens
from mcp_edge.auth.server.clients.accepted import AcceptedClients
from mcp_edge.auth.server.grants.grants import Grants
from mcp_edge.auth.server.metadata import server_metadata
from mcp_edge.auth.server.model import Client, OAuthError
from mcp_edge.auth.server.route_table import ENDPOINTS, Endpoint
from mcp_edge.errors import CallerError, ConfigurationError, Problem, StoreUnavailable, TooMany
from mcp_edge.platform import Accounts, Platform
from mcp_edge.protocol import cors
from mcp_edge.protocol.keyring import KeyRing
from mcp_edge.protocol.request import Request
from mcp_edge.protocol.routing import Route, Who
from mcp_edge.protocol.urls import Urls

if TYPE_CHECKING:
    from mcp_edge.auth.server.server import AuthorizationServer

logger = logging.getLogger(__name__)

_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


class ServerRoutes:
    """The authenticator of access tokens, and the handlers of the authorization server's paths.

    What needs randomness or pages is made at its first use.
    """

    def __init__(self, platform: Platform, scopes: Callable[[], Awaitable[Scopes]]) -> None:
        """`scopes` starts the server, which declares the scopes.

        Raises:
            ConfigurationError: a setting that the mode needs is missing, or a client in the settings is wrong.
        """
        from mcp_edge.auth.identity.choose import account_provider, identity_provider  # noqa: PLC0415

        settings = platform.settings
        if settings.public_url is None:
            raise ConfigurationError("MCP_PUBLIC_URL is not set: an authorization server must know its own URL.")
        static: Mapping[str, Client] = {}
        if settings.clients:
            from mcp_edge.auth.server.clients.lookup import static_clients  # noqa: PLC0415

            static = static_clients(settings)  # now, so that a mistake in them ends the process
        self._accepted = AcceptedClients(settings, static)
        self._platform = platform
        self._scopes = scopes
        self._urls = Urls(settings.public_url)
        self._provider = identity_provider(platform)
        self._account = account_provider(platform, self._provider)
        self.authenticator = BearerTokens(self._urls, lambda: self._grants, scopes, access_keys(settings.keys))
        about_resources = resource_metadata(self._urls, scopes, authorization_servers=[self._urls.issuer])
        self._documents = (about_resources, server_metadata(self._urls, scopes, settings))

    def routes(self) -> tuple[Route, ...]:
        """The routes of the authorization server."""
        endpoints = [
            Route(path, partial(self._serve_page if endpoint.page else self._serve_json, endpoint), Who.ANYBODY)
            for path, endpoint in ENDPOINTS.items()
        ]
        return (*endpoints, *(route for documents in self._documents for route in documents.routes()))

    @cached_property
    def accounts(self) -> Accounts | None:
        """Users' own accounts at the upstream; None where tools need none."""
        if self._account is None:
            return None
        from mcp_edge.auth.server.browser.accounts import UserAccounts  # noqa: PLC0415

        return UserAccounts(self._account, lambda: self._server)

    @cached_property
    def _ring(self) -> KeyRing:
        return KeyRing([key.get_secret_value() for key in self._platform.settings.secret_keys])

    @cached_property
    def _grants(self) -> Grants:
        return Grants(
            self._platform, self._ring, self._urls, self._scopes, self._provider.admits, self._accepted.refusal
        )

    @cached_property
    def _server(self) -> AuthorizationServer:
        from mcp_edge.auth.server.server import AuthorizationServer  # noqa: PLC0415

        linked_accounts = None
        if self._account is not None:
            from mcp_edge.auth.identity.linked_accounts import LinkedAccounts  # noqa: PLC0415

            linked_accounts = LinkedAccounts(self._platform, self._ring, self._account)
        return AuthorizationServer(
            self._platform,
            self._urls,
            self._ring,
            self._grants,
            self._scopes,
            provider=self._provider,
            linked_accounts=linked_accounts,
        )

    async def _serve_json(self, endpoint: Endpoint, request: Request) -> None:
        """Serve a client, in JSON, its mistakes too (RFC 6749 §5.2)."""
        try:
            if endpoint.any_origin and await cors.preflighted(request, *endpoint.methods):
                return
            request.only(*endpoint.methods)
            if not endpoint.any_origin:
                self._server.browsers.check_program(request)
            await self._counted(endpoint, self._server, request)
        except (CallerError, StoreUnavailable) as e:
            if isinstance(e, CallerError):
                self._record(request, e)
            problem = Problem.of(e, request.trace_id)
            problem.write_log(logger)
            await _refuse(request, problem, _error_code(e))

    def _record(self, request: Request, e: CallerError) -> None:
        """Write the refusal into the audit's log."""
        reason, client = (f"{e.error}: {e.reason}", e.client) if isinstance(e, OAuthError) else (e.reason, "")
        address = self._server.attempts.address(request)
        decided(request.path.removeprefix("/"), "refused", client=client, address=address, reason=reason)

    async def _serve_page(self, endpoint: Endpoint, request: Request) -> None:
        """Serve a browser, in pages, its mistakes too."""
        from mcp_edge.auth.server.browser.pages import with_error_pages  # noqa: PLC0415

        await with_error_pages(partial(self._visited, endpoint))(self._server, request)

    async def _visited(self, endpoint: Endpoint, server: AuthorizationServer, request: Request) -> None:
        """Count what the user of a browser asks for: not what another site's page has it ask for, any number of times,
        which would keep that user and the neighbours out."""
        request.only(*endpoint.methods)
        server.browsers.check_visit(request)
        await self._counted(endpoint, server, request)

    async def _counted(self, endpoint: Endpoint, server: AuthorizationServer, request: Request) -> None:
        if endpoint.counted_as is not None:
            await server.attempts.check(request, endpoint.counted_as)
        await endpoint.handler()(server, request)


def _error_code(e: CallerError | StoreUnavailable) -> str:
    """The `error` of RFC 6749 §5.2. What is no error of OAuth's either passes soon, or is wrong with the request."""
    if isinstance(e, OAuthError):
        return e.error
    return "temporarily_unavailable" if isinstance(e, (TooMany, StoreUnavailable)) else "invalid_request"


async def _refuse(request: Request, problem: Problem, error: str) -> None:
    body = json.dumps({"error": error, "error_description": problem.message}).encode()
    fields = [(name.encode(), value.encode()) for name, value in {**_NO_STORE, **problem.headers}.items()]
    await request.answer(problem.status, body, headers=fields)
