"""The page on which a user decides what an app may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcp_edge.pages import again
from mcp_edge.pages.html import EMPTY, Html, app_name, html, joined, link, plain
from mcp_edge.pages.layout import Page, status
from mcp_edge.pages.sign_in import hidden


@dataclass(frozen=True, slots=True)
class Option:
    """A scope that is asked for, in words."""

    name: str
    description: str
    includes: tuple[str, ...] = ()
    """Descriptions of what it includes."""
    ticked: bool = True


@dataclass(frozen=True, slots=True)
class Consent:
    """What the page shows."""

    action: str
    apps: str
    """Where the page of connected apps is."""
    flow: str
    client_name: str
    client_kind: Literal["static", "cimd", "dcr"]
    client_site: str
    """Host and path of the document by which a `cimd` client is known; empty for others."""
    client_uri: str
    redirect_host: str
    redirect_is_local: bool
    resource: str
    options: tuple[Option, ...]
    offer_read_only: bool
    user_name: str
    """Who is signed in; empty for nobody."""
    provider: str
    """Where the user signs in next, when there is a place for it."""
    client_named: bool = True
    """Whether the client has given its name itself."""
    problem: str = ""
    notice: str = ""
    """Sentences about what has just happened."""


def page(view: Consent) -> Page:
    """The page."""
    name = app_name(view.client_name)
    title = f"Allow {name}?"
    body = html(
        "<h1>Allow <q>{name}</q> to use this server?</h1>\n{notice}{problem}"
        "<dl>\n"
        "<dt>App</dt><dd>{kind}</dd>\n"
        '<dt>Returns to</dt><dd><span class="host">{redirect}</span>{local}</dd>\n'
        '<dt>Server</dt><dd><span class="host">{resource}</span></dd>\n'
        "{signed_in}"
        "</dl>\n{warning}"
        '<form method="post" action="{action}">\n{again}{hidden}{options}{buttons}</form>\n{after}',
        name=name,
        notice=status(view.notice),
        problem=html('<p class="note" role="alert">{text}</p>\n', text=view.problem) if view.problem else EMPTY,
        kind=_kind(view, name),
        redirect=view.redirect_host,
        local=Html(" (this computer)") if view.redirect_is_local else EMPTY,
        resource=view.resource,
        signed_in=_signed_in(view),
        warning=_warning(view),
        action=view.action,
        again=again.first("choice"),
        hidden=hidden((("flow", view.flow),)),
        options=_options(view),
        buttons=_buttons(view),
        after=_after(view),
    )
    return Page(title, body)


def _kind(view: Consent, name: str) -> Html:
    """How the app is known, and then what it says of itself: a reader must not take the one for the other."""
    shown = html("<q>{name}</q>", name=link(view.client_uri, name) if view.client_uri else name)
    match view.client_kind:
        case "static":
            return html("Admitted by the operator of this server: {shown}", shown=shown)
        case "cimd":
            return html(
                'Known by its own site, <span class="host">{site}</span>: {shown}', site=view.client_site, shown=shown
            )
        case "dcr" if not view.client_named:
            return html("It registered itself, and gave no name of its own: {shown}", shown=shown)
        case "dcr":
            return html("It named itself, and nobody has verified that name: {shown}", shown=shown)


def _warning(view: Consent) -> Html:
    if view.client_kind == "static" or not view.redirect_is_local:
        return EMPTY
    return Html(
        '<p class="note">Any program on this computer could have asked for this. '
        "Go on only if you have just added this server to an app.</p>\n"
    )


def _signed_in(view: Consent) -> Html:
    if not view.user_name:
        return EMPTY
    return html(
        '<dt>You</dt><dd>{name} <form class="inline" method="post" action="{action}">{hidden}'
        '<button class="link" name="choice" value="switch">Not you?</button></form></dd>\n',
        name=plain(view.user_name),
        action=view.action,
        hidden=hidden((("flow", view.flow),)),
    )


def _options(view: Consent) -> Html:
    if len(view.options) == 1:
        only = view.options[0]
        return html(
            "<p>It may {description}.{includes}</p>\n{hidden}",
            description=only.description,
            includes=_includes(only),
            hidden=hidden((("scope", only.name),)),
        )
    rows = joined(
        html(
            '<div class="option"><label><input type="checkbox" name="scope" value="{name}"{ticked}>'
            "<span>{description}</span></label>{includes}</div>\n",
            name=option.name,
            ticked=Html(" checked") if option.ticked else EMPTY,
            description=option.description,
            includes=html('<span class="quiet">{words}</span>', words=_includes(option)) if option.includes else EMPTY,
        )
        for option in view.options
    )
    return html("<fieldset>\n<legend>It may</legend>\n{rows}</fieldset>\n", rows=rows)


def _includes(option: Option) -> Html:
    return html(" This includes: {words}.", words="; ".join(option.includes)) if option.includes else EMPTY


def _buttons(view: Consent) -> Html:
    read_only = Html('<button name="choice" value="read_only">Allow reading only</button>\n')
    return html(
        '<div class="buttons">\n<button class="main" name="choice" value="allow">Allow</button>\n{read_only}'
        '<button name="choice" value="deny">Deny</button>\n</div>\n',
        read_only=read_only if view.offer_read_only else EMPTY,
    )


def _after(view: Consent) -> Html:
    place = f" with {plain(view.provider, 40)}" if view.provider else ""
    text = "" if view.user_name else f"You will sign in{place} next. Then you are asked once more, under your name. "
    return html(
        '<p class="quiet">{text}Allow it only if you have just started this in that app. '
        'You can take it back at any time under <a href="{apps}">connected apps</a>.</p>',
        text=text,
        apps=view.apps,
    )
