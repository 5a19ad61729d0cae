"""The authorization server's paths: who handles each, what it counts as, and whether it answers in JSON or in pages.

A handler is imported when its path is first asked for: who only calls tools does not load the pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_edge.auth.server.attempts import Attempt
    from mcp_edge.auth.server.server import AuthorizationServer
    from mcp_edge.protocol.request import Request

    Handler = Callable[[AuthorizationServer, Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a path is served."""

    handler: Callable[[], Handler]
    """Imports the handler."""
    counted_as: Attempt | None
    """The kind of attempt that a request counts as; None where the handler counts, or nobody does."""
    methods: tuple[str, ...]
    any_origin: bool = False
    """Whether scripts of any site may ask (CORS)."""
    page: bool = False
    """Whether the handler answers a browser with pages, or a program with JSON."""


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


ENDPOINTS = {
    "/token": Endpoint(_token, "token", ("POST",), any_origin=True),
    "/revoke": Endpoint(_revoke, "revoke", ("POST",), any_origin=True),
    "/introspect": Endpoint(_introspect, "introspect", ("POST",)),
    "/register": Endpoint(_register, "new-client", ("POST",), any_origin=True),
    "/authorize": Endpoint(_authorize, "authorize", ("GET",), page=True),
    "/consent": Endpoint(_consent, "consent", ("GET", "POST"), page=True),
    "/sign-in": Endpoint(_sign_in, None, ("GET", "POST"), page=True),
    "/sign-out": Endpoint(_sign_out, "apps", ("POST",), page=True),
    "/apps": Endpoint(_apps, "apps", ("GET", "POST"), page=True),
    "/oauth/callback": Endpoint(_callback, "callback", ("GET",), page=True),
    "/oauth/connected": Endpoint(_connected, "callback", ("GET", "POST"), page=True),
    "/style.css": Endpoint(_stylesheet, None, ("GET", "HEAD"), page=True),
    "/connect/": Endpoint(_connect, "connect", ("GET", "POST"), page=True),
}
"""Every path of the authorization server but those of its metadata; `/connect/` stands for every path below it."""
