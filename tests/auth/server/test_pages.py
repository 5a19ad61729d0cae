"""What holds for every page: its headers, that nothing of a stranger's becomes markup, and that people can use it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from mcp_edge.auth.scopes import Scope
from mcp_edge.auth.server.browser.pages import redirect
from mcp_edge.auth.server.browsers import Browsers
from mcp_edge.errors import StoreUnavailable
from mcp_edge.protocol import request as http
from tests.auth.server.deployment import CLIENT, REDIRECT, Asking, Deployment, authorize, consent_page, deploy
from tests.auth.server.upstream import GitHub
from tests.support.asgi import Call
from tests.support.visitor import Page

pytestmark = pytest.mark.anyio

EVIL = """<script>alert(1)</script><img src=x onerror=alert(1)>"'><a href="javascript:alert(1)">{x}&lt;"""
EVIL_CLIENT: dict[str, Any] = {**CLIENT, "client_id": "evil", "client_name": EVIL}
POLICY = "default-src 'none'; style-src 'self'; img-src 'none'; form-action {}; base-uri 'none'; frame-ancestors 'none'"
TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title link body main h1 h2 p q dl dt dd span form input button fieldset legend div label a "
        "strong ul li section time em code",
    )
)


async def every_page(edge: Deployment) -> dict[str, Page]:
    """One of each kind."""
    async with edge.visitor() as browser:
        asked = await consent_page(browser, Asking())
        sign_in = await browser.press(asked, "Allow")
        refused = await browser.press(sign_in, "Sign in", type_in={"value": "x" * 65})
        signed_in = await browser.press(refused, "Sign in", type_in={"value": "alice"})
        await browser.press(signed_in, "Allow")
        return {
            "consent": asked,
            "sign-in on the way": sign_in,
            "refused": refused,
            "signed in": signed_in,
            "sign-in": await edge.visitor().visit("/sign-in"),
            "apps": await browser.visit("/apps"),
            "error": await consent_page(browser, Asking(client_id="nobody")),
            "not allowed": await browser.post("/consent", [], origin="https://evil.example", site="cross-site"),
        }


@pytest.fixture
async def pages() -> dict[str, Page]:
    return await every_page(deploy())


async def test_every_page_has_the_headers_that_keep_others_out(pages: dict[str, Page]) -> None:
    common = {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "strict-transport-security": "max-age=31536000",
        "content-type": "text/html; charset=utf-8",
    }
    away = "'self' https://app.example"
    targets = {"consent": away, "sign-in on the way": "'self'", "refused": "'self'", "signed in": away}
    for name, page in pages.items():
        headers = {k: v for k, v in page.response.headers.items() if k not in ("content-length", "set-cookie")}
        alone = {} if name in targets else {"cross-origin-opener-policy": "same-origin"}
        policy = {"content-security-policy": POLICY.format(targets.get(name, "'self'"))}
        assert headers == common | alone | policy, name


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://a.example/cb?x=%20&iss=https://b", b"https://a.example/cb?x=%20&iss=https://b"),
        ("https://a.example/\r\nset-cookie: a=b", b"https://a.example/%0D%0Aset-cookie:%20a=b"),
        ("https://a.example/\u2028\u00e9", b"https://a.example/%E2%80%A8%C3%A9"),
    ],
)
async def test_a_redirect_is_one_header_whatever_it_leads_to(url: str, location: bytes) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await redirect(http.Request({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send), url)
    assert [value for name, value in sent[0]["headers"] if name == b"location"] == [location]


async def test_a_redirect_that_bears_a_code_is_neither_kept_nor_told() -> None:
    async with deploy().visitor() as browser:
        denied = await browser.press(await consent_page(browser, Asking()), "Deny")

        headers = {k: v for k, v in denied.response.headers.items() if k != "location"}
        assert headers == {"content-length": "0", "cache-control": "no-store", "referrer-policy": "no-referrer"}


@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [
        (REDIRECT, "https://app.example"),
        ("https://app.example:8443/callback", "https://app.example:8443"),
        ("http://127.0.0.1:54321/callback", "http://127.0.0.1:54321"),
        ("http://localhost:54321/callback", "http://localhost:54321"),
        ("http://[::1]:54321/callback", "http:"),  # CSP has no word for an IPv6 address
    ],
)
async def test_the_form_may_lead_to_the_clients_own_origin(redirect_uri: str, source: str) -> None:
    known = {**CLIENT, "redirect_uris": [redirect_uri]}
    async with deploy(clients=(known,)).visitor() as browser:
        page = await consent_page(browser, Asking(redirect_uri=redirect_uri))

        assert page.response.headers["content-security-policy"] == POLICY.format(f"'self' {source}")


async def test_the_form_may_lead_on_to_a_provider_and_whom_it_asks() -> None:
    async with GitHub().deploy().visitor() as browser:
        page = await consent_page(browser, Asking())

        policy = page.response.headers["content-security-policy"]
        assert policy == POLICY.format("'self' https://app.example https:")


async def test_on_loopback_no_browser_is_told_to_insist_on_https() -> None:
    async with deploy(public_url="http://localhost:8000").visitor() as browser:
        page = await consent_page(browser, Asking())

        assert "strict-transport-security" not in page.response.headers


async def test_the_stylesheet_is_the_only_thing_that_a_page_loads(pages: dict[str, Page]) -> None:
    edge = deploy()
    async with edge.client() as client:
        style = await client.get("/style.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "url(" not in style.text
    assert "@import" not in style.text
    for page in pages.values():
        loaded = [a.get("href") or a.get("src") for tag, a in page.tags if tag == "link" or "src" in a]
        assert loaded == ["/style.css"]
        assert {tag for tag, _ in page.tags} <= TAGS
        assert not any(name == "style" or name.startswith("on") for _, a in page.tags for name in a)


async def test_under_a_path_every_address_has_it() -> None:
    async with deploy(public_url="https://mcp.example/tools").visitor() as browser:
        page = await browser.visit("/authorize", **Asking().query)

        assert [a["href"] for tag, a in page.tags if tag == "link"] == ["/tools/style.css"]
        assert {form.action for form in page.forms} == {"/tools/consent"}


async def test_a_screen_reader_finds_its_way(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        tags = page.tags
        assert [a.get("lang") for tag, a in tags if tag == "html"] == ["en"], name
        assert [tag for tag, _ in tags if tag in ("main", "h1", "title")] == ["title", "main", "h1"], name
        typed = [a for tag, a in tags if tag == "input" and a.get("type") != "hidden"]
        assert _Labels(page.response.text).named == len(typed), name
        # A link's fragment would lead the focus to what has an id, so nothing has, and nothing refers to one.
        refers = {"id", "for", "form", "list", "aria-labelledby", "aria-describedby"}
        assert [(tag, a) for tag, a in tags if refers & a.keys()] == [], name
        assert ("user-scalable" in page.response.text, "maximum-scale" in page.response.text) == (False, False)


class _Labels(HTMLParser):
    """How many inputs are inside a label that says something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.named, self._inputs, self._words = 0, -1, ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "label":
            self._inputs, self._words = 0, ""
        elif tag == "input" and self._inputs >= 0:
            self._inputs += 1

    def handle_data(self, data: str) -> None:
        self._words += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self.named += self._inputs == 1 and bool(self._words.strip())
            self._inputs = -1


class _Markup(HTMLParser):
    """Elements and links of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction")]
        assert not any(name.startswith("on") for name, _ in attrs), (tag, attrs)


def harmless(page: Page) -> bool:
    """Whether the page has nothing but our own elements, and leads nowhere that is not http(s)."""
    found = _Markup(page.response.text)
    assert found.elements <= TAGS, found.elements - TAGS
    assert [link for link in found.links if not link.startswith(("/", "https://"))] == []
    return True


async def test_the_name_of_a_client_is_text_on_every_page() -> None:
    async with deploy(clients=(EVIL_CLIENT,)).visitor() as browser:
        asking = Asking(client_id="evil")
        page = await consent_page(browser, asking)
        sign_in = await browser.press(page, "Allow")
        await authorize(browser, asking)
        apps = await browser.visit("/apps")

        for each in (page, sign_in, apps):
            assert "<script>alert(1)</script>" in each.text  # as text, for a person
            assert harmless(each)


async def test_the_name_of_a_user_is_text_on_every_page() -> None:
    async with deploy().visitor() as browser:
        name = EVIL[:60]
        apps = await browser.press(await browser.visit("/sign-in"), "Sign in", type_in={"value": name})
        page = await consent_page(browser, Asking())

        for each in (apps, page):
            assert "<script>alert(1)</script>" in each.text
            assert harmless(each)


async def test_the_words_of_a_scope_are_text_on_every_page() -> None:
    words = Scope("a", EVIL), Scope('"><script>', EVIL, implies=("a",))
    async with deploy(scopes=words).visitor() as browser:
        page = await consent_page(browser, Asking())
        await authorize(browser)
        apps = await browser.visit("/apps")

        assert harmless(page)
        assert harmless(apps)
        assert "<script>" in page.text


@pytest.mark.parametrize(
    "name", ["client_id", "redirect_uri", "state", "scope", "resource", "response_type", "code_challenge", EVIL]
)
async def test_no_parameter_becomes_markup(name: str) -> None:
    async with deploy(clients=(CLIENT, EVIL_CLIENT)).visitor() as browser:
        page = await browser.visit(f"/authorize?{urlencode({**Asking().query, name: EVIL})}", site="cross-site")

        if page.left:
            assert page.left.startswith(REDIRECT + "?")
            assert "<" not in page.response.headers["location"]
        else:
            assert harmless(page)


@pytest.mark.parametrize(
    "path", ["/sign-in?return=", "/sign-in?flow=", "/apps?told=", "/oauth/callback?state=", "/oauth/callback?error="]
)
async def test_no_parameter_of_another_page_becomes_markup(path: str) -> None:
    async with deploy().visitor() as browser:
        page = await browser.visit(path + quote(EVIL))

        assert harmless(page)
        assert "alert(1)" not in page.response.text


async def test_what_a_provider_says_is_text() -> None:
    github = GitHub(login=EVIL)
    async with github.deploy().visitor() as browser:
        away = await browser.press(await browser.visit("/sign-in"), "Continue with GitHub")
        page = await github.back(browser, away)
        assert harmless(page)
        away = await browser.press(await consent_page(browser, Asking(more={"prompt": "consent"})), "Not you?")
        away = await browser.press(away, "Allow")
        denied = await github.back(browser, away, error=EVIL, error_description=EVIL)

        assert denied.left.startswith(REDIRECT + "?")
        assert "alert" not in denied.left


async def test_a_client_cannot_hide_behind_its_name() -> None:
    name = "Honest app\u202e evil\u200b\u0007" + "\n" * 50 + "x" * 500
    async with deploy(clients=({**CLIENT, "client_name": name},)).visitor() as browser:
        page = await consent_page(browser, Asking())

        shown = page.heading.removeprefix("Allow ").removesuffix(" to use this server?")
        assert shown.startswith("Honest app evil xxx")
        assert len(shown) <= 80


async def test_a_form_whose_body_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT_S", 0.01)
    edge = deploy()
    headers = [
        ("host", "mcp.example"),
        ("origin", "https://mcp.example"),
        ("content-type", "application/x-www-form-urlencoded"),
    ]
    for path in ("/consent", "/sign-in", "/sign-out", "/apps"):
        call = await Call(edge.app, "POST", path, headers, [b"flow="], whole=False).start()
        answer = await call.whole()
        assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
        assert b"did not arrive in time" in answer.body


async def test_a_store_that_is_down_is_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        page = await consent_page(browser, Asking())

        async def fail(*_: object, **__: object) -> None:
            raise StoreUnavailable("down")

        for method in ("get", "create", "swap"):
            monkeypatch.setattr(edge.platform.atomics, method, fail)
        failed = await browser.press(page, "Allow")

        assert (failed.status, failed.heading, failed.left) == (503, "Not available just now", "")
        assert failed.response.headers["retry-after"] == "2"


async def test_a_bug_is_a_page_that_names_its_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    edge = deploy()
    async with edge.visitor() as browser:
        page = await consent_page(browser, Asking())

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a secret of ours")

        with monkeypatch.context() as patch:
            patch.setattr(Browsers, "check_form", fail)
            failed = await browser.press(page, "Allow")
        assert (failed.status, failed.heading, failed.left) == (500, "That did not work", "")
        assert failed.response.headers["content-type"] == "text/html; charset=utf-8"
        assert "a secret of ours" not in failed.response.text
        (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert f"Reference: {line.getMessage().split()[1]}" in failed.text
        assert line.exc_info is not None
        assert (await browser.visit("/nothing")).status == 404
        assert (await browser.press(page, "Deny")).left


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/authorize", "GET"),
        ("/consent", "GET, POST"),
        ("/sign-in", "GET, POST"),
        ("/sign-out", "POST"),
        ("/apps", "GET, POST"),
    ],
)
async def test_another_method_is_a_page_that_names_the_right_ones(path: str, methods: str) -> None:
    async with deploy().client() as client:
        answer = await client.put(path)

        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
