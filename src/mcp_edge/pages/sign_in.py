"""The page on which users say who they are, or are sent to who knows it."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_edge.pages.html import EMPTY, Html, app_name, html, joined, plain
from mcp_edge.pages.layout import Page

MAX_CHARS = 512


@dataclass(frozen=True, slots=True)
class Purpose:
    """The app for which a user signs in, where its answer goes, and what it wants."""

    client_name: str
    redirect_host: str
    may: tuple[str, ...]
    """Descriptions of scopes, as words that complete "It asks to …"."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """What the page shows. `action` is where it posts to; `hidden` travels with it."""

    action: str
    hidden: tuple[tuple[str, str], ...]
    field: str
    """What the field is called; empty where the provider asks on its own site."""
    secret: bool = False
    provider: str = ""
    """The provider's name, for a button that leads there."""
    purpose: Purpose | None = None
    """None where the user signs in for our own pages."""
    problem: str = ""
    takes_focus: bool = True
    """Whether what is typed goes into the field at once."""


def page(view: SignIn) -> Page:
    """The page."""
    body = html(
        "<h1>Sign in</h1>\n{purpose}{problem}"
        '<form method="post" action="{action}">\n{hidden}{field}'
        '<div class="buttons"><button class="main">{button}</button></div>\n</form>',
        purpose=_purpose(view.purpose) if view.purpose else EMPTY,
        problem=html('<p class="note" role="alert">{text}</p>\n', text=view.problem) if view.problem else EMPTY,
        action=view.action,
        hidden=hidden(view.hidden),
        field=_field(view) if view.field else EMPTY,
        button=f"Continue with {plain(view.provider, 40)}" if view.provider else "Sign in",
    )
    return Page("Sign in", body)


def _purpose(purpose: Purpose) -> Html:
    """What a user who came by somebody else's link would otherwise learn on the next page only."""
    return html(
        "<p>To go on to <q>{name}</q>. It has not been allowed anything: you are asked once you are signed in.</p>\n"
        '<dl>\n<dt>Returns to</dt><dd><span class="host">{host}</span></dd>\n'
        "<dt>It asks to</dt><dd>{may}</dd>\n</dl>\n"
        '<p class="quiet">If you have not just started this in that app, close this page.</p>\n',
        name=app_name(purpose.client_name),
        host=purpose.redirect_host,
        may="; ".join(purpose.may),
    )


def hidden(pairs: tuple[tuple[str, str], ...]) -> Html:
    """Hidden inputs."""
    return joined(html('<input type="hidden" name="{name}" value="{value}">\n', name=n, value=v) for n, v in pairs)


def _field(view: SignIn) -> Html:
    kind = Html(
        'type="password" autocomplete="current-password"' if view.secret else 'type="text" autocomplete="username"'
    )
    invalid = html(' aria-invalid="true" aria-description="{text}"', text=view.problem) if view.problem else EMPTY
    return html(
        '<label class="field"><span>{label}</span>\n'
        '<input {kind} name="value" required maxlength="{most}" autocapitalize="none" spellcheck="false"'
        "{focus}{invalid}></label>\n",
        label=view.field,
        kind=kind,
        most=MAX_CHARS,
        focus=Html(" autofocus") if view.takes_focus else EMPTY,
        invalid=invalid,
    )
