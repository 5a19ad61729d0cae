"""One fleet and one browser for all tests of this folder."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from playwright.async_api import Browser

from tests.clients.oauth import documents
from tests.clients.oauth.callback import Callback, listening
from tests.clients.oauth.person import Person
from tests.support import browser as support
from tests.support.fleet import Fleet

APP = "tests.clients.oauth.server:create_server"
ADDRESSES, PEOPLE = count(1), count(1)
CLIENTS = [
    {"client_id": "conformance", "client_name": "Conformance", "redirect_uris": ["http://127.0.0.1/callback"]},
]


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    """One event loop for the whole folder: the browser's driver belongs to it."""
    return "asyncio"


@pytest.fixture(scope="package")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    """A real browser."""
    async with support.chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the two processes share."""
    return f"sqlite:{tmp_path_factory.mktemp('store') / 'oauth.db'}"


@pytest.fixture(scope="package")
def fleet(store: str) -> Iterator[Fleet]:
    """Two processes that authorize clients themselves; on loopback, users pick their names."""
    env = {"MCP_CLIENT_ADDRESS_HEADER": "X-Client-Address", "MCP_CLIENTS": json.dumps(CLIENTS)}
    with Fleet(app=APP, count=2, store=store, auth="oauth", env=env) as running:
        yield running


@pytest.fixture(autouse=True)
def address(fleet: Fleet) -> None:
    """Attempts are counted per address, so each test comes from an address of its own (RFC 5737), as the proxy says."""
    assert fleet.proxy is not None
    fleet.proxy.adds = [(b"X-Client-Address", f"192.0.2.{next(ADDRESSES)}".encode())]


@pytest.fixture
async def person(chromium: Browser, fleet: Fleet) -> AsyncIterator[Person]:
    """Somebody whom nobody has seen before, at a browser of their own, whose pages must not complain of anything."""
    async with support.profile(chromium) as profile:
        yield Person(profile, fleet.url, f"ada-{next(PEOPLE)}")
        assert profile.complaints(fleet.url) == []


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    """A client's address for the browser."""
    async with listening() as found:
        yield found


@pytest.fixture
async def document(fleet: Fleet, store: str) -> str:
    """The URL of a client's document, which is its client id."""
    return (await documents.publish(store, fleet.url)).id
