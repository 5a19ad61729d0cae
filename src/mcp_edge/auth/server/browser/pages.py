"""Sends pages: their headers, redirects between them, and errors as pages. It knows no page's purpose."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from urllib.parse import quote

from mcp_edge.audit import decided
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import NO_HEADERS, CallerError, Problem, StoreUnavailable, UpstreamError
from mcp_edge.pages import error, layout
from mcp_edge.pages.layout import Page
from mcp_edge.pages.style import STYLE
from mcp_edge.protocol.request import Gone, Header, Request

logger = logging.getLogger(__name__)

MAX_FORM_BYTES = 64 * 1024
Handler = Callable[[AuthorizationServer, Request], Awaitable[None]]

_TITLES = {403: "That is not allowed", 404: "There is nothing here", 429: "Too many attempts", 413: "That is too much"}
_LATER = ("Not available just now", "Try again in a moment.")
_BUG = ("That did not work", "Something is wrong at this server.")
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"
_REDIRECT = [(b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")]


def with_error_pages(handler: Handler) -> Handler:
    """The same handler, with its errors answered by pages."""

    @wraps(handler)
    async def serve(server: AuthorizationServer, request: Request) -> None:
        try:
            await handler(server, request)
        except CallerError as e:
            await _refuse(server, request, e.status, e.message, reason=e.reason, client=_client(e), headers=e.headers)
        except UpstreamError as e:
            await _refuse(server, request, 502, "The sign-in service did not answer; try again.", reason=str(e))
        except Gone:
            raise
        except Exception as e:  # the outermost boundary of a page: a bug is logged once and told without detail
            if request.begun:
                raise
            await _apologize(server, request, e)

    return serve


async def send_page(
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
        Forbidden: the form is another site's.
        UnsupportedMedia: the body is no form.
        TooLarge: the body is over `MAX_FORM_BYTES`.
        BadRequest: the body cannot be read.
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
    headers: Mapping[str, str] = NO_HEADERS,
) -> None:
    address = server.attempts.address(request)
    # What follows /connect/ opens something, and belongs into no log.
    what = "connect" if request.path.startswith("/connect/") else request.path.removeprefix("/")
    decided(what, "refused", client=client, address=address, reason=reason)
    title = _TITLES.get(status, "That did not work")
    await send_page(server, request, error.page(title, message), status=status, headers=_pairs(headers))


async def _apologize(server: AuthorizationServer, request: Request, e: Exception) -> None:
    """Answer with what is the server's own fault: the page has the id under which the log has it."""
    problem = Problem.of(e, request.trace_id)
    problem.write_log(logger)
    title, text = _LATER if isinstance(e, StoreUnavailable) else _BUG
    page = error.page(title, text, reference=request.trace_id())
    await send_page(server, request, page, status=problem.status, headers=_pairs(problem.headers))


def _client(e: CallerError) -> str:
    return e.client if isinstance(e, OAuthError) else ""


def _pairs(headers: Mapping[str, str]) -> list[Header]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
