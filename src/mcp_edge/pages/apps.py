"""The page of connected apps: what has access, and how to take it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from mcp_edge.pages import again
from mcp_edge.pages.html import EMPTY, Html, app_name, html, joined, plain
from mcp_edge.pages.layout import Page, status
from mcp_edge.pages.sign_in import hidden


@dataclass(frozen=True, slots=True)
class App:
    """One app. Times are epoch seconds."""

    id: str
    name: str
    origin: str
    """The host of its client id, or a word on how it is known."""
    returns_to: str
    """Where its answers went."""
    may: tuple[str, ...]
    """What it may do, as words that complete "It may …"."""
    created_at: float
    last_used_at: float


@dataclass(frozen=True, slots=True)
class Apps:
    """What the page shows."""

    action: str
    sign_out: str
    shown: tuple[str, str]
    """The hidden field that says when."""
    user_name: str
    apps: tuple[App, ...]
    account: str = ""
    """Where an upstream account is connected; empty for nowhere."""
    notice: str = ""
    """What has just been done, as a sentence."""


def page(view: Apps) -> Page:
    """The page."""
    nothing = Html('<p class="quiet">No app is connected.</p>\n')
    body = html(
        "<h1>Connected apps</h1>\n{notice}"
        "<p>Signed in as <strong>{name}</strong>.</p>\n"
        "{apps}{account}"
        '<section class="app" aria-label="Sign out">\n<h2>Sign out</h2>\n'
        '<p class="quiet">Everywhere means: every app above, every browser, and the account behind the tools.</p>\n'
        '<div class="buttons">\n<form method="post" action="{sign_out}"><button>Sign out here</button></form>\n'
        '<form method="post" action="{action}">\n{kept}'
        '<button class="danger" name="do" value="sign-out-everywhere">Sign out everywhere</button></form>\n</div>\n'
        "</section>",
        notice=status(view.notice),
        name=plain(view.user_name),
        apps=joined(_app(view, app) for app in view.apps) if view.apps else nothing,
        account=_account(view) if view.account else EMPTY,
        action=view.action,
        kept=_kept(view),
        sign_out=view.sign_out,
    )
    return Page("Connected apps", body)


def _app(view: Apps, app: App) -> Html:
    name = app_name(app.name)
    return html(
        '<section class="app" aria-label="{name}">\n<h2><q>{name}</q></h2>\n'
        '<p class="quiet"><span class="host">{origin}</span>, returns to <span class="host">{returns_to}</span>. '
        "Connected {created}, last used {used}.</p>\n"
        "<p>It may:</p>\n<ul>{may}</ul>\n"
        '<form method="post" action="{action}">\n{kept}'
        '<button class="danger" name="do" value="revoke" aria-label="Revoke {name}">Revoke</button></form>\n'
        "</section>\n",
        name=name,
        origin=app.origin,
        returns_to=app.returns_to,
        created=_day(app.created_at),
        used=_day(app.last_used_at),
        may=joined(html("<li>{words}</li>", words=words) for words in app.may),
        action=view.action,
        kept=_kept(view, ("app", app.id)),
    )


def _account(view: Apps) -> Html:
    return html(
        '<section class="app" aria-label="Connected account">\n<h2>Connected account</h2>\n'
        "<p>Tools act with your account at {account}.</p>\n"
        '<form method="post" action="{action}">\n{kept}'
        '<button class="danger" name="do" value="disconnect">Disconnect</button></form>\n</section>\n',
        account=view.account,
        action=view.action,
        kept=_kept(view),
    )


def _kept(view: Apps, *more: tuple[str, str]) -> Html:
    """What every form that takes something back begins with."""
    return joined((again.first("do"), hidden((view.shown, *more))))


def _day(epoch_s: float) -> Html:
    day = datetime.fromtimestamp(epoch_s, UTC)
    return html(
        '<time datetime="{iso}">{text}</time>',
        iso=day.strftime("%Y-%m-%dT%H:%MZ"),
        text=day.strftime("%Y-%m-%d %H:%M UTC"),
    )
