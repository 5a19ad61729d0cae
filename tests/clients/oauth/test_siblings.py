"""What another host of the same site can do with cookies, in a real browser over TLS: nothing, and hinder nobody.

A browser lets any host set cookies for its whole site, but for names that begin with `__Host-`; the site's plain http
pages too, which whoever is on the network can write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page

from tests.auth.server.deployment import Asking, consent_page
from tests.clients.oauth.person import Person
from tests.support import browser as support
from tests.support.authorization import Front, look
from tests.support.certificate import self_signed
from tests.support.fleet import Fleet
from tests.support.sibling import NAME, Sibling, listening
from tests.support.visitor import Visitor

pytestmark = pytest.mark.anyio

APP = "tests.clients.oauth.server:create_server"
SERVER = "mcp.example.test"
ADA, MALLORY = "key of ada", "key of mallory"
BINDING, SESSION = b"__Host-mcp-browser", b"__Host-mcp-session"
CHOSEN = "A" * 43
"""A binding of the attacker's own."""
SPELLED = (b"\xa0%s", b"\x85%s", b"%s\xa0", b"%s\x85")
MANY = [b"filler%d=x; Domain=example.test; Path=/; Secure" % n for n in range(240)]
"""More than a browser keeps for one site: older ones give way."""


def for_the_site(name: bytes, value: str) -> bytes:
    """A cookie that every host of the site gets."""
    return b"%s=%s; Domain=example.test; Path=/" % (name, value.encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A server over TLS, on a host beside which there are others."""
    folder = tmp_path_factory.mktemp("siblings")
    env = {"MCP_CLIENT_ADDRESS_HEADER": "X-Client-Address"}
    store, keys = f"sqlite:{folder / 'oauth.db'}", {"ada": ADA, "mallory": MALLORY}
    with Fleet(
        app=APP,
        count=1,
        proxy=True,
        store=store,
        auth="oauth",
        env=env,
        tls=self_signed(folder),
        name=SERVER,
        keys=keys,
    ) as running:
        yield running


@pytest.fixture
async def sibling(tmp_path: Path) -> AsyncIterator[Sibling]:
    async with listening(self_signed(tmp_path)) as running:
        yield running


@pytest.fixture(autouse=True)
def elsewhere(server: Fleet, request: pytest.FixtureRequest) -> None:
    """Attempts are counted per address: each test has one of its own (RFC 5737)."""
    assert server.proxy is not None
    n = sorted(item.nodeid for item in request.session.items).index(request.node.nodeid) % 250
    server.proxy.adds = [(b"X-Client-Address", f"198.51.100.{n}".encode())]


@dataclass
class Attack:
    """Mallory's side: an app of his own, and a flow for which he has pressed Allow himself."""

    server: Fleet
    sibling: Sibling
    client_id: str = ""

    @asynccontextmanager
    async def browser(self) -> AsyncGenerator[Visitor]:
        """His browser."""
        address = f"https://127.0.0.1:{urlsplit(self.server.url).port}"
        async with Visitor(Front(address, any_certificate=True), self.server.url, looks=look) as his:
            yield his

    async def begun(self, binding: str = CHOSEN) -> str:
        """The link to a sign-in that ends his flow, bound to `binding`."""
        async with self.browser() as his:
            document = {"client_name": "Evil", "redirect_uris": [f"{self.sibling.url}/cb"]}
            told = await his.client.post("/register", json={**document, "token_endpoint_auth_method": "none"})
            self.client_id = told.json()["client_id"]
            his.client.cookies.set(BINDING.decode(), binding, domain=SERVER)
            asking = Asking(client_id=self.client_id, redirect_uri=f"{self.sibling.url}/cb")
            return (await his.press(await consent_page(his, asking), "Allow")).url

    async def session(self) -> str:
        """The value of the cookie by which he is signed in."""
        async with self.browser() as his:
            await his.press(await his.visit("/sign-in"), "Sign in", type_in={"value": MALLORY})
            return his.cookie(SESSION.decode())

    async def plant(self, page: Page, *cookies: bytes, plain: bool = False) -> None:
        """Have a page of the sibling set cookies: the browser takes each whose name begins with another byte than our
        prefix does."""
        self.sibling.cookies = list(cookies)
        where = self.sibling.plain_url if plain else self.sibling.url
        await page.goto(where + "/plant")
        if cookies == tuple(MANY):
            return
        await page.goto(where + "/seen")
        names = [cookie.partition(b"=")[0] for cookie in cookies]
        assert [name + b"=" in self.sibling.received for name in names] == [
            not name.startswith(b"__Host-") for name in names
        ]


@pytest.fixture
def attack(server: Fleet, sibling: Sibling) -> Attack:
    return Attack(server, sibling)


@asynccontextmanager
async def victim(chromium: Browser, server: Fleet) -> AsyncGenerator[tuple[Person, Page]]:
    """Ada at a browser of her own, and a tab of it."""
    async with support.profile(chromium, any_certificate=True) as profile:
        yield Person(profile, server.url, ADA), await profile.page()


async def lured(person: Person, page: Page, link: str, sibling: Sibling) -> None:
    """Follow the attacker's link, sign in if asked to, and find that nothing of it goes to his app."""
    answer = await page.goto(link)
    if await page.get_by_role("textbox").count():
        await person.sign_in(page)
    assert sibling.arrivals == []
    assert answer is not None
    assert (answer.status, await page.get_by_role("alert").inner_text()) == (
        403,
        "This was begun in another browser, or is no longer valid. Start again from your app.",
    )


async def own_flow(person: Person, page: Page, attack: Attack) -> None:
    """Authorize an app as the person herself, who may have done so before: its code arrives."""
    asking = Asking(client_id=attack.client_id, redirect_uri=f"{attack.sibling.url}/cb")
    address = "&".join(f"{name}={value}" for name, value in asking.query.items())
    await page.goto(f"{attack.server.url}/authorize?{address}")
    if page.url.startswith(attack.server.url):
        await person.press(page, "Allow")
    if await page.get_by_role("textbox").count():
        await person.sign_in(page)
        assert await page.get_by_text("ada Not you?").count() == 1
        await person.press(page, "Allow")
    assert [set(arrival) for arrival in attack.sibling.arrivals] == [{"code", "state", "iss"}]


async def kept(person: Person) -> set[str]:
    """Which of our cookies the browser has."""
    names = {cookie.get("name", "") for cookie in await person.profile.context.cookies(person.url)}
    return names & {BINDING.decode(), SESSION.decode()}


@pytest.mark.parametrize("plain", [False, True], ids=["https", "http"])
async def test_a_binding_planted_in_a_browser_that_has_none_ends_no_flow_of_somebody_else(
    chromium: Browser, server: Fleet, attack: Attack, plain: bool
) -> None:
    link = await attack.begun()
    for spelled in (SPELLED[0::2], SPELLED[1::2]):
        async with victim(chromium, server) as (person, page):
            await attack.plant(page, *(for_the_site(name % BINDING, CHOSEN) for name in spelled), plain=plain)
            await lured(person, page, link, attack.sibling)
            if spelled == SPELLED[0::2]:
                await own_flow(person, page, attack)
                attack.sibling.arrivals.clear()


async def test_all_that_is_planted_beside_the_true_cookies_hinders_nobody(
    chromium: Browser, server: Fleet, attack: Attack
) -> None:
    link, session = await attack.begun(), await attack.session()
    planted = [for_the_site(spelled % BINDING, CHOSEN) for spelled in SPELLED]
    planted += [for_the_site(spelled % SESSION, session) for spelled in SPELLED]
    async with victim(chromium, server) as (person, page):
        await attack.plant(page, *planted[::2])
        await attack.plant(page, *planted[1::2], plain=True)
        await own_flow(person, page, attack)
        assert await kept(person) == {BINDING.decode(), SESSION.decode()}
        await attack.plant(page, *planted)
        attack.sibling.arrivals.clear()
        await lured(person, page, link, attack.sibling)
        await page.goto(f"{server.url}/apps")
        assert await page.get_by_text("Signed in as ada.").count() == 1
        await own_flow(person, page, attack)


async def test_a_sibling_that_pushes_the_true_cookies_out_takes_no_place_of_theirs(
    chromium: Browser, server: Fleet, attack: Attack
) -> None:
    link, session = await attack.begun(), await attack.session()
    async with victim(chromium, server) as (person, page):
        await own_flow(person, page, attack)
        attack.sibling.arrivals.clear()
        await attack.plant(page, *MANY)
        assert await kept(person) == set()
        planted = [for_the_site(b"\xa0" + BINDING, CHOSEN), for_the_site(b"\xa0" + SESSION, session)]
        await attack.plant(page, *(cookie + b"; Secure" for cookie in planted))  # others would give way first
        await lured(person, page, link, attack.sibling)
        await page.goto(f"{server.url}/apps")
        assert await page.get_by_role("heading", level=1).inner_text() == "Sign in"
        await own_flow(person, page, attack)


async def test_a_session_that_is_planted_signs_nobody_in(chromium: Browser, server: Fleet, attack: Attack) -> None:
    session = await attack.session()
    async with victim(chromium, server) as (person, page):
        for spelled in SPELLED:
            await attack.plant(page, for_the_site(spelled % SESSION, session))
        await page.goto(f"{server.url}/apps")
        assert await page.get_by_role("heading", level=1).inner_text() == "Sign in"
        await person.sign_in(page)
        assert await page.get_by_text("Signed in as ada.").count() == 1


async def test_even_with_the_binding_of_another_a_sign_in_is_asked_about_and_gives_nothing_by_itself(
    chromium: Browser, server: Fleet, attack: Attack
) -> None:
    link = await attack.begun()
    async with victim(chromium, server) as (person, page):
        await person.profile.context.add_cookies(
            [{"name": BINDING.decode(), "value": CHOSEN, "url": server.url, "secure": True, "httpOnly": True}]
        )
        await page.goto(link)
        said = await page.inner_text("main")
        assert ("Evil" in said, NAME in said, "read your page" in said) == (True, True, True)
        await person.sign_in(page)
        assert attack.sibling.arrivals == []
        assert await page.get_by_role("status").count() == 1
        assert (NAME in await page.inner_text("dl"), await page.get_by_text("ada Not you?").count()) == (True, 1)
        await person.press(page, "Deny")
        assert [arrival.get("error") for arrival in attack.sibling.arrivals] == ["access_denied"]
