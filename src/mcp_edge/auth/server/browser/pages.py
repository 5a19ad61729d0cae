"""How a page is sent: its headers, redirects between pages, and refusals that a person can read."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from urllib.parse import quote

from mcp_edge.audit import decided
from mcp_edge.auth.identity.provider import Refused
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import STATUS, CallerError, StoreUnavailable, UpstreamError
from mcp_edge.pages import error, layout
from mcp_edge.pages.layout import Page
from mcp_edge.pages.style import STYLE
from mcp_edge.protocol.request import Gone, Request

logger = logging.getLogger(__name__)

MAX_FORM_BYTES = 64 * 1024
Handler = Callable[[AuthorizationServer, Request], Awaitable[None]]

_TITLES = {403: "That is not allowed", 404: "There is nothing here", 429: "Too many attempts", 413: "That is too much"}
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"
_REDIRECT = [(b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]


def shown(handler: Handler) -> Handler:
    """A handler whose refusals are pages."""

    @wraps(handler)
    async def serve(server: AuthorizationServer, request: Request) -> None:
        try:
            await handler(server, request)
        except CallerError as e:
            status = STATUS[type(e)]
            headers = [(name.encode(), value.encode()) for name, value in e.headers.items()]
            await _refuse(server, request, status, e.message, reason=e.message, headers=headers)
        except OAuthError as e:
            await _refuse(server, request, e.status, e.description, reason=e.reason, client=e.client)
        except Refused as e:
            await _refuse(server, request, 403, e.message, reason=e.reason)
        except UpstreamError as e:
            await _refuse(server, request, 502, "The sign-in service did not answer; try again.", reason=str(e))
        except StoreUnavailable as e:
            logger.error("request %s: %s", request.trace_id(), e)  # noqa: TRY400 # a store that is down is no bug
            page = error.page("Not available just now", "Try again in a moment.", reference=request.trace_id())
            await show(server, request, page, status=503, headers=[(b"retry-after", b"2")])
        except Gone:
            raise
        except Exception as e:  # the outermost boundary of a page: a bug is logged once and told without detail
            if request.begun:
                raise
            trace = request.trace_id()
            logger.error("request %s failed", trace, exc_info=e)  # noqa: TRY400 # as the app itself writes it
            page = error.page("That did not work", "Something is wrong at this server.", reference=trace)
            await show(server, request, page, status=500)

    return serve


async def show(
    server: AuthorizationServer,
    request: Request,
    page: Page,
    *,
    status: int = 200,
    form_targets: Sequence[str] = (),
    keeps_opener: bool = False,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with a page. `form_targets` and `keeps_opener` as `layout.headers` takes them."""
    policy = layout.headers(secure=server.urls.secure, form_targets=form_targets, keeps_opener=keeps_opener)
    fields = [*policy, *headers]
    await request.answer(
        status, layout.document(page, server.urls.base_path), b"text/html; charset=utf-8", headers=fields
    )


async def redirect(request: Request, url: str) -> None:
    """Send the browser on by GET (303: a POST's body, which may hold a key, goes no further; RFC 9700 §4.12)."""
    location = quote(url, safe=_URL_CHARACTERS).encode()  # whatever it holds, it is one header
    await request.answer(303, headers=[(b"location", location), *_REDIRECT])


async def form(server: AuthorizationServer, request: Request) -> Parameters:
    """The form that a page of ours has posted.

    Raises:
        Forbidden, UnsupportedMedia, TooLarge, BadRequest
    """
    server.browsers.check_form(request)
    return Parameters.parse(await request.body(MAX_FORM_BYTES))


async def stylesheet(server: AuthorizationServer, request: Request) -> None:
    """GET /style.css."""
    del server
    request.only("GET", "HEAD")
    headers = [(b"cache-control", b"public, max-age=3600"), (b"x-content-type-options", b"nosniff")]
    await request.answer(200, STYLE, b"text/css; charset=utf-8", headers=headers)


async def _refuse(
    server: AuthorizationServer,
    request: Request,
    status: int,
    message: str,
    *,
    reason: str,
    client: str = "",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    address = server.limits.address(request)
    # What follows /connect/ opens something, and belongs into no log.
    what = "connect" if request.path.startswith("/connect/") else request.path.removeprefix("/")
    decided(what, "refused", client=client, address=address, reason=reason)
    title = _TITLES.get(status, "That did not work")
    await show(server, request, error.page(title, message), status=status, headers=headers)
