"""The pages on which a user links an account elsewhere, for what the server's tools do there. They decide nothing."""

from __future__ import annotations

from mcp_edge.pages import again
from mcp_edge.pages.html import html, plain
from mcp_edge.pages.layout import Page, status
from mcp_edge.pages.sign_in import hidden


def page(
    *,
    provider: str,
    server: str,
    user_name: str,
    action: str,
    apps: str,
    replaces: bool,
    shown: tuple[str, str],
    notice: str = "",
) -> Page:
    """The page that says what will be linked, for whom, and why. `apps` is the URL of the page that unlinks it; `shown`
    is the hidden field with the time of this page."""
    body = html(
        "<h1>Connect your {provider} account?</h1>\n{notice}"
        "<p>An app that you use with this server has called a tool that needs your account at {provider}, and it will "
        "act there as you. {before}</p>\n"
        '<p class="note">If no app of yours has just asked for this, close this page.</p>\n'
        "<dl>\n"
        '<dt>Server</dt><dd><span class="host">{server}</span></dd>\n'
        "<dt>Signed in here as</dt><dd>{user}</dd>\n"
        "</dl>\n"
        "<p>{provider} shows next what this server may do there. The server keeps the access for you, encrypted; "
        "your apps never see it. Take it back whenever you like at "
        '<a href="{apps}">connected apps</a>.</p>\n'
        '<form method="post" action="{action}">\n{first}{hidden}'
        '<div class="buttons"><button class="main">Continue to {provider}</button></div>\n</form>',
        provider=plain(provider, 40),
        notice=status(notice),
        first=again.first("choice"),
        hidden=hidden((shown,)),
        before="One is connected already; the new one takes its place." if replaces else "",
        server=server,
        user=plain(user_name),
        action=action,
        apps=apps,
    )
    return Page(f"Connect your {plain(provider, 40)} account", body)


def arrived(
    *,
    provider: str,
    account: str,
    server: str,
    user_name: str,
    action: str,
    handle: str,
    shown: tuple[str, str],
    notice: str = "",
) -> Page:
    """The page that asks the account's owner to confirm the user: the owner may never have seen the first page."""
    name = plain(provider, 40)
    body = html(
        "<h1>Use this {provider} account here?</h1>\n{notice}"
        "<dl>\n"
        "<dt>Account at {provider}</dt><dd>{account}</dd>\n"
        "<dt>For</dt><dd><strong>{user}</strong></dd>\n"
        '<dt>Server</dt><dd><span class="host">{server}</span></dd>\n'
        "</dl>\n"
        "<p>Whoever signs in at this server as <strong>{user}</strong> will act at {provider} as {account}. "
        "If that is not you, do not connect it.</p>\n"
        '<form method="post" action="{action}">\n{first}{hidden}'
        '<div class="buttons"><button class="main" name="choice" value="connect">Connect</button>\n'
        '<button name="choice" value="leave">Do not connect</button></div>\n</form>',
        provider=name,
        account=plain(account),
        user=plain(user_name),
        server=server,
        action=action,
        notice=status(notice),
        first=again.first("choice"),
        hidden=hidden((("handle", handle), shown)),
    )
    return Page(f"Use this {name} account here?", body)


def left(*, provider: str, account: str) -> Page:
    """The page after the owner has declined."""
    body = html(
        "<h1>Not connected</h1>\n"
        '<p role="status">Your {provider} account <strong>{account}</strong> is not connected. '
        "You can close this page.</p>",
        provider=plain(provider, 40),
        account=plain(account),
    )
    return Page("Not connected", body)


def done(*, provider: str, account: str) -> Page:
    """The page after the account was linked."""
    body = html(
        "<h1>Connected</h1>\n"
        '<p role="status">Your {provider} account <strong>{account}</strong> is connected. '
        "You can close this page and go back to your app.</p>",
        provider=plain(provider, 40),
        account=plain(account),
    )
    return Page("Connected", body)
