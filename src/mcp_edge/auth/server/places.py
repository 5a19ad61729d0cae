"""The authorization server's paths: who handles each, what it counts as, and whether it answers in JSON or in pages.

A handler is imported when its path is first asked for: who only calls tools does not load the pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_edge.auth.server.attempts import What
    from mcp_edge.auth.server.server import AuthorizationServer
    from mcp_edge.protocol.request import Request

    Handler = Callable[[AuthorizationServer, Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """How a path is served."""

    handler: Callable[[], Handler]
    """Imports the handler."""
    limit: What | None
    """None where the handler counts, or nothing is."""
    methods: tuple[str, ...]
    any_origin: bool = False
    page: bool = False
    """The handler answers a browser, in pages."""


def place_of(path: str) -> Place | None:
    """Where `path` is served; None where it is none of the authorization server's."""
    return _CONNECT if path.startswith("/connect/") else _PLACES.get(path)


def _token() -> Handler:
    from mcp_edge.auth.server.endpoints.token import token

    return token


def _revoke() -> Handler:
    from mcp_edge.auth.server.endpoints.revocation import revoke

    return revoke


def _introspect() -> Handler:
    from mcp_edge.auth.server.endpoints.introspection import introspect

    return introspect


def _register() -> Handler:
    from mcp_edge.auth.server.endpoints.registration import register

    return register


def _authorize() -> Handler:
    from mcp_edge.auth.server.browser.authorize import authorize

    return authorize


def _consent() -> Handler:
    from mcp_edge.auth.server.browser.consent import consent

    return consent


def _sign_in() -> Handler:
    from mcp_edge.auth.server.browser.sign_in import sign_in

    return sign_in


def _sign_out() -> Handler:
    from mcp_edge.auth.server.browser.sign_in import sign_out

    return sign_out


def _apps() -> Handler:
    from mcp_edge.auth.server.browser.apps import apps

    return apps


def _callback() -> Handler:
    from mcp_edge.auth.server.browser.callback import callback

    return callback


def _connected() -> Handler:
    from mcp_edge.auth.server.browser.link_account import connected

    return connected


def _stylesheet() -> Handler:
    from mcp_edge.auth.server.browser.pages import stylesheet

    return stylesheet


def _connect() -> Handler:
    from mcp_edge.auth.server.browser.link_account import connect

    return connect


_PLACES = {
    "/token": Place(_token, "token", ("POST",), any_origin=True),
    "/revoke": Place(_revoke, "revoke", ("POST",), any_origin=True),
    "/introspect": Place(_introspect, "introspect", ("POST",)),
    "/register": Place(_register, "new-client", ("POST",), any_origin=True),
    "/authorize": Place(_authorize, "authorize", ("GET",), page=True),
    "/consent": Place(_consent, "consent", ("GET", "POST"), page=True),
    "/sign-in": Place(_sign_in, None, ("GET", "POST"), page=True),
    "/sign-out": Place(_sign_out, "apps", ("POST",), page=True),
    "/apps": Place(_apps, "apps", ("GET", "POST"), page=True),
    "/oauth/callback": Place(_callback, "callback", ("GET",), page=True),
    "/oauth/connected": Place(_connected, "callback", ("GET", "POST"), page=True),
    "/style.css": Place(_stylesheet, None, ("GET", "HEAD"), page=True),
}
_CONNECT = Place(_connect, "connect", ("GET", "POST"), page=True)
"""Every path below /connect/."""
