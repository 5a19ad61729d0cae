"""Which tools, prompts and resources a credential may use: their scopes, compared with those of the caller.

A user without scopes (`User.scopes is None`) is not restricted. It knows no HTTP and no token, and runs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import mcp_types as t
from mcp.server.mcpserver import MCPServer
from mcp.shared.uri_template import UriTemplate

from mcp_edge import audit
from mcp_edge.auth.scopes import Scopes, declared, needs_of
from mcp_edge.errors import ConfigurationError, InsufficientScope
from mcp_edge.protocol.jsonrpc import member
from mcp_edge.user import User

logger = logging.getLogger(__name__)

Item = t.Tool | t.Prompt | t.Resource | t.ResourceTemplate

_FREE: frozenset[str] = frozenset()
_KINDS: Mapping[type[Item], str] = {
    t.Tool: "tool",
    t.Prompt: "prompt",
    t.Resource: "resource",
    t.ResourceTemplate: "resource template",
}
_MAX_NAMED = 200
"""Characters of a name in the log."""


class Permissions:
    """The scopes that each item of one server's catalogue needs, and the refusals that follow from them."""

    def __init__(self, server: MCPServer[Any], schema: Callable[[str], Any]) -> None:
        """`schema` gives a tool's own schema object, or None when there is no such tool."""
        self._server = server
        self._schema = schema
        self._declared = declared(server)
        self._tools: dict[str, tuple[Any, frozenset[str]]] = {}
        """Tool -> its schema and the scopes that it needs. Another schema object shows that the tool was replaced."""
        self.any = False
        """Whether anything needs a scope, so that callers may see different lists."""

    @property
    def scopes(self) -> Scopes:
        """The scopes that the server declares."""
        return self._declared.scopes

    async def start(self) -> None:
        """Read the catalogue.

        Raises:
            ConfigurationError: something needs a scope that is not declared, or a prompt is not there.
        """
        self._declared = declared(self._server)
        prompts = await self._server.list_prompts()
        for name in self._declared.prompts.keys() - {prompt.name for prompt in prompts}:
            raise ConfigurationError(f"declare_scopes names the prompt {name!r}, which the server does not have.")
        tools, resources = await self._server.list_tools(), await self._server.list_resources()
        templates = await self._server.list_resource_templates()
        self.any = False
        for item in (*tools, *prompts, *resources, *templates):
            needed = self._needs(item)
            self.any = self.any or bool(needed)
            if undeclared := needed - self.scopes.by_name.keys():
                names = ", ".join(sorted(undeclared))
                raise ConfigurationError(
                    f"{item.name!r} requires the scope {names}, which declare_scopes does not declare."
                )
        self._tools = self._table(tools)
        if self.scopes.declared:
            self._warn_of_unscoped((*tools, *prompts, *resources, *templates))

    def _warn_of_unscoped(self, items: Sequence[Item]) -> None:
        """Name, in one line, what every credential may use although nobody has said so: a forgotten `requires`."""
        unscoped = [f"{_KINDS[type(item)]} {item.name}" for item in items if not self._declared.says(item)]
        if unscoped:
            logger.warning(
                "every credential may use these, which name no scope: %s. Say requires(…) or requires_no_scope() in "
                "meta; of a prompt, in declare_scopes",
                ", ".join(unscoped),
            )

    async def check(
        self, user: User, method: str, params: Mapping[str, Any] | None, reading: Reading | None = None
    ) -> None:
        """Refuse a request that the user's credential does not allow. An item that does not exist needs no scope.

        Several requests at once share a `reading`.

        Raises:
            InsufficientScope: the credential lacks a scope.
        """
        if user.scopes is None:
            return
        needed = await self.needed(method, params, reading)
        if not needed <= user.scopes:
            what = f"{method} {_name(params)}"
            reason = f"needs {' '.join(sorted(needed))}, has {' '.join(sorted(user.scopes)) or 'none'}"
            audit.decided(what, "refused", principal=user.principal, client=user.client, reason=reason)
            raise InsufficientScope(needed, self.held(user))

    def held(self, user: User) -> frozenset[str]:
        """Those of the server's scopes that the user's credential has."""
        return (user.scopes or _FREE) & self.scopes.by_name.keys()

    async def needed(
        self, method: str, params: Mapping[str, Any] | None, reading: Reading | None = None
    ) -> frozenset[str]:
        """All scopes that a request needs."""
        match method:
            case "tools/call":
                return await self._of_tool(member(params, "name"))
            case "prompts/get":
                return self._of_prompt(member(params, "name"))
            case "resources/read" | "resources/subscribe":
                return await (reading or self.reading()).needed(member(params, "uri"))
            case "completion/complete":
                ref = member(params, "ref")
                if member(ref, "type") == "ref/prompt":
                    return self._of_prompt(member(ref, "name"))
                return await (reading or self.reading()).needed_to_complete(member(ref, "uri"))
            case _:
                return _FREE

    def shown(self, user: User, items: Sequence[Any]) -> list[Any]:
        """Those of a list's items that the user may use."""
        scopes = user.scopes
        return list(items) if scopes is None else [item for item in items if self._needs(item) <= scopes]

    async def readable(self, user: User, uris: Sequence[str]) -> list[str]:
        """Those of the URIs that the user may read, and therefore hear of."""
        scopes, reading = user.scopes, self.reading()
        return list(uris) if scopes is None else [uri for uri in uris if await reading.needed(uri) <= scopes]

    def reading(self) -> Reading:
        """The resources as they are now, to ask about several."""
        return Reading(self._server)

    def _needs(self, item: Item) -> frozenset[str]:
        return self._of_prompt(item.name) if isinstance(item, t.Prompt) else needs_of(item.meta)

    def _of_prompt(self, name: Any) -> frozenset[str]:
        return self._declared.prompts.get(name, _FREE) if type(name) is str else _FREE

    async def _of_tool(self, name: Any) -> frozenset[str]:
        if type(name) is not str:
            return _FREE  # the SDK's validation refuses it
        known = self._tools.get(name)
        if known is None or known[0] is None or known[0] is not self._schema(name):
            self._tools = self._table(await self._server.list_tools())
            known = self._tools.get(name)
        return _FREE if known is None else known[1]

    def _table(self, tools: Sequence[t.Tool]) -> dict[str, tuple[Any, frozenset[str]]]:
        return {tool.name: (self._schema(tool.name), self._needs(tool)) for tool in tools}


class Reading:
    """The scopes that one server's resources need. It lists them once, at the first question."""

    def __init__(self, server: MCPServer[Any]) -> None:
        self._server = server
        self._resources: dict[str, t.Resource] | None = None
        self._templates: Sequence[t.ResourceTemplate] = ()

    async def needed(self, uri: Any) -> frozenset[str]:
        """What a resource needs, found as the SDK finds it: by its URI, else the first template that matches."""
        if type(uri) is not str:
            return _FREE
        if (resource := (await self._listed()).get(uri)) is not None:
            return needs_of(resource.meta)
        for template in self._templates:
            if _parsed(template.uri_template).match(uri) is not None:
                return needs_of(template.meta)
        return _FREE

    async def needed_to_complete(self, uri: Any) -> frozenset[str]:
        """What the template needs that is named by its text, which a template before it may match as a URI."""
        await self._listed()
        named = (needs_of(template.meta) for template in self._templates if template.uri_template == uri)
        found = next(named, None)
        return await self.needed(uri) if found is None else found

    async def _listed(self) -> dict[str, t.Resource]:
        if self._resources is None:
            self._templates = await self._server.list_resource_templates()
            listed = await self._server.list_resources()
            self._resources = {resource.uri: resource for resource in reversed(listed)}
        return self._resources


@lru_cache(1024)
def _parsed(template: str) -> UriTemplate:
    return UriTemplate.parse(template)


def _name(params: Mapping[str, Any] | None) -> str:
    """What a request is about, for the log."""
    ref = member(params, "ref")
    found = (member(params, "name"), member(params, "uri"), member(ref, "name"), member(ref, "uri"))
    return next((name[:_MAX_NAMED] for name in found if type(name) is str), "")
