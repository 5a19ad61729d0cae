"""The parts that every wire works with, made once for an app."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import RequestStateSecurity

from mcp_edge.auth.authenticator import Authenticator, refusal_headers, still_valid
from mcp_edge.auth.scopes import Scopes
from mcp_edge.calls.outlets import Nowhere
from mcp_edge.errors import ConfigurationError, Problem
from mcp_edge.platform import Platform
from mcp_edge.protocol.request import Header, Request
from mcp_edge.protocol.signing import Signer
from mcp_edge.records.changes import EVERYBODY, Change, Changes
from mcp_edge.records.questions import GRACE_S, Questions
from mcp_edge.records.quotas import Quotas
from mcp_edge.records.sessions import Session, Sessions
from mcp_edge.sdk.arguments import bound_argument_errors
from mcp_edge.sdk.dispatch import Dispatch
from mcp_edge.sdk.kernel import Kernel
from mcp_edge.sdk.pagination import keep_reads_private, paginate_lists
from mcp_edge.sdk.subscriptions import register_subscriptions
from mcp_edge.sdk.url_elicitation import register_url_elicitation
from mcp_edge.settings import Settings
from mcp_edge.text.hashing import short_hash
from mcp_edge.tools.current import CURRENT
from mcp_edge.user import User

Message = tuple[str, dict[str, Any] | None, int | str]
"""A request: its method, params and id."""
_CATALOGUE = "catalogue"


@dataclass(frozen=True, slots=True)
class Core:
    """One server on one host."""

    platform: Platform
    kernel: Kernel
    sessions: Sessions
    questions: Questions
    changes: Changes
    quotas: Quotas
    authenticator: Authenticator

    @classmethod
    def build(
        cls, create_server: Callable[[Settings], MCPServer[Any]], platform: Platform, authenticator: Authenticator
    ) -> Core:
        """Make the parts. Called at the first request: a Worker allows no randomness before it.

        Raises:
            ConfigurationError: there is no secret to sign and seal with.
        """
        keys = [key.get_secret_value() for key in platform.settings.secret_keys]
        if not keys:
            raise ConfigurationError("MCP_SECRET_KEYS is not set: sessions cannot be signed.")
        signer = Signer([key.encode() for key in keys])
        ttl_s = platform.settings.question_ttl_s + GRACE_S
        security = RequestStateSecurity(keys=keys, ttl=ttl_s, bind_principal=_bound_principal)
        sessions, changes = Sessions(platform, signer), Changes(platform)
        kernel = Kernel(create_server(platform.settings), security)
        register_subscriptions(kernel.low, platform, sessions, changes, authenticator, kernel.permissions)
        private = platform.settings.auth != "none"
        paginate_lists(kernel.low, platform.settings.page_size, kernel.permissions, private=private)
        if private:
            keep_reads_private(kernel.low, kernel.permissions)
        bound_argument_errors(kernel.low, kernel.server)
        register_url_elicitation(kernel.low)
        questions, quotas = Questions(platform, signer), Quotas(platform)
        return cls(platform, kernel, sessions, questions, changes, quotas, authenticator)

    @property
    def scopes(self) -> Scopes:
        """The scopes that the server declares."""
        return self.kernel.permissions.scopes

    def notification(
        self, request: Request, user: User, session: Session | None, params: Mapping[str, Any] | None
    ) -> Dispatch:
        """A client's notification, made the current call. It has no response: what its handler says goes nowhere."""
        dispatch = Dispatch(request, user, self.platform, self.changes, self.sessions, session, None, params, Nowhere())
        CURRENT.set(dispatch)
        return dispatch

    def headers_of(self, problem: Problem, request: Request) -> list[Header]:
        """The headers of a refusal, its challenge included."""
        return refusal_headers(self.authenticator, problem, request)

    async def still_valid(self, request: Request, user: User) -> bool:
        """Whether a stream that was opened with the credential of `request` may still be held for `user`."""
        return await still_valid(self.authenticator, request, user)

    async def announce_catalogue(self) -> None:
        """Send list_changed to everybody when a deploy has changed the catalogue since the last start on this store."""
        server = self.kernel.server
        catalogue = {
            "tools": await server.list_tools(),
            "prompts": await server.list_prompts(),
            "resources": [*await server.list_resources(), *await server.list_resource_templates()],
        }
        changed: list[Change] = []
        for kind, items in catalogue.items():
            digest = short_hash("\n".join(sorted(item.model_dump_json() for item in items))).encode()
            key = f"{_CATALOGUE}/{server.name}/{kind}"
            known = await self.platform.records.get(key)
            if known != digest:
                await self.platform.records.put(key, digest)
                if known is not None:
                    changed.append(Change(kind))
        if changed:
            await self.changes.publish(EVERYBODY, changed)


def _bound_principal(ctx: ServerRequestContext[Any, Any]) -> str | None:
    """Seal `requestState` to the user who was asked, and to the app in whose hands it is.

    In a session it is in nobody's hands but the store's, and the session is one app's already.
    """
    del ctx
    x = cast("Dispatch", CURRENT.get())
    user = x.user
    if not user.client or x.session is not None:
        return user.principal
    return json.dumps([user.principal, user.client])
