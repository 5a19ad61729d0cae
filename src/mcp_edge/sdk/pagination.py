"""Lists: what of them the caller may use, and in pages (MCP 2026-07-28 utilities, Pagination).

A cursor names the last item of the page before, so that a list that changed in between is neither repeated nor cut.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from mcp_edge.auth.permissions import Permissions
from mcp_edge.tools.current import CURRENT

LISTS: dict[str, tuple[str, str]] = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resource_templates", "uri_template"),
}
"""Method -> the result's field and what names an item in it."""

Handler = Callable[[ServerRequestContext[Any, Any], Any], Awaitable[Any]]


def page_lists(low: Server[Any], size: int, permissions: Permissions, *, private: bool) -> None:
    """Wrap the registered list handlers; a result with a cursor of its own is only filtered.

    `private`: callers may differ in what they may use, so that no shared cache may keep what depends on it.
    """
    for method, (field, name) in LISTS.items():
        entry = low.get_request_handler(method)
        if entry is not None:
            permitted = _permitted(entry.handler, field, permissions) if private else entry.handler
            low.add_request_handler(method, t.PaginatedRequestParams, _paged(permitted, field, name, size))


def _permitted(handler: Handler, field: str, permissions: Permissions) -> Handler:
    async def filtered(ctx: ServerRequestContext[Any, Any], params: t.PaginatedRequestParams) -> Any:
        result = await handler(ctx, params)
        if not permissions.any:
            return result
        shown = permissions.shown(CURRENT.get().user, getattr(result, field))
        return result.model_copy(update={field: shown, "cache_scope": "private"})

    return filtered


def keep_reads_private(low: Server[Any], permissions: Permissions) -> None:
    """Where the fork lets shared caches keep what is read (`cache_hints`), except what needs a scope."""
    entry, hint = low.get_request_handler("resources/read"), low.cache_hints.get("resources/read")
    if entry is None or hint is None or hint.scope != "public":
        return

    async def read(ctx: ServerRequestContext[Any, Any], params: t.ReadResourceRequestParams) -> Any:
        result = await entry.handler(ctx, params)
        if isinstance(result, t.CacheableResult) and await permissions.needed("resources/read", {"uri": params.uri}):
            return result.model_copy(update={"cache_scope": "private"})
        return result

    low.add_request_handler("resources/read", t.ReadResourceRequestParams, read)


def _paged(handler: Handler, field: str, name: str, size: int) -> Handler:
    async def page(ctx: ServerRequestContext[Any, Any], params: t.PaginatedRequestParams) -> Any:
        result = await handler(ctx, params)
        items: list[Any] = getattr(result, field, [])
        if getattr(result, "next_cursor", None) is not None or (len(items) <= size and params.cursor is None):
            return result
        start = 0 if params.cursor is None else _place(params.cursor, [str(getattr(item, name)) for item in items])
        update: dict[str, Any] = {field: items[start : start + size]}
        if start + size < len(items):
            update["next_cursor"] = _cursor(str(getattr(items[start + size - 1], name)))
        return result.model_copy(update=update)

    return page


def _cursor(last: str) -> str:
    return urlsafe_b64encode(last.encode("utf-8", "surrogatepass")).decode()


def _place(cursor: str, names: list[str]) -> int:
    """The index after the item that the cursor names.

    Raises:
        MCPError: -32602 for a cursor that is none of ours, or whose item is gone: list from the beginning.
    """
    try:
        last = urlsafe_b64decode(cursor.encode()).decode("utf-8", "surrogatepass")
        return names.index(last) + 1
    except (binascii.Error, ValueError):
        raise MCPError(t.INVALID_PARAMS, "Invalid cursor: list from the beginning.") from None
