"""Lists in pages, without what the caller may not use (MCP 2026-07-28 utilities, Pagination). It knows no wire.

A cursor names the last item of its page. So a list that changes in between neither repeats nor skips an item.
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
"""Method -> the field of the result that is the list, and the field that names an item."""

Handler = Callable[[ServerRequestContext[Any, Any], Any], Awaitable[Any]]


def paginate_lists(low: Server[Any], size: int, permissions: Permissions, *, private: bool) -> None:
    """Replace the list handlers by ones that return pages of `size` items. A handler that returns a cursor of its own
    pages by itself, and its result is only filtered.

    `private`: callers may differ in what they may use, so no shared cache may keep a filtered list.
    """
    for method, (field, name) in LISTS.items():
        entry = low.get_request_handler(method)
        if entry is not None:
            permitted = _permitted(entry.handler, field, permissions) if private else entry.handler
            low.add_request_handler(method, t.PaginatedRequestParams, _paginated(permitted, field, name, size))


def _permitted(handler: Handler, field: str, permissions: Permissions) -> Handler:
    async def filtered(ctx: ServerRequestContext[Any, Any], params: t.PaginatedRequestParams) -> Any:
        result = await handler(ctx, params)
        if not permissions.any:
            return result
        shown = permissions.shown(CURRENT.get().user, getattr(result, field))
        return result.model_copy(update={field: shown, "cache_scope": "private"})

    return filtered


def keep_reads_private(low: Server[Any], permissions: Permissions) -> None:
    """Keep shared caches from resources that need a scope, where the server's `cache_hints` make resources public."""
    entry, hint = low.get_request_handler("resources/read"), low.cache_hints.get("resources/read")
    if entry is None or hint is None or hint.scope != "public":
        return

    async def read(ctx: ServerRequestContext[Any, Any], params: t.ReadResourceRequestParams) -> Any:
        result = await entry.handler(ctx, params)
        if isinstance(result, t.CacheableResult) and await permissions.needed("resources/read", {"uri": params.uri}):
            return result.model_copy(update={"cache_scope": "private"})
        return result

    low.add_request_handler("resources/read", t.ReadResourceRequestParams, read)


def _paginated(handler: Handler, field: str, name: str, size: int) -> Handler:
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
    """The index of the item after the one that the cursor names.

    Raises:
        MCPError: -32602 for a cursor that this server did not make, and for one whose item is gone.
    """
    try:
        last = urlsafe_b64decode(cursor.encode()).decode("utf-8", "surrogatepass")
        return names.index(last) + 1
    except (binascii.Error, ValueError):
        raise MCPError(t.INVALID_PARAMS, "Invalid cursor: list from the beginning.") from None
