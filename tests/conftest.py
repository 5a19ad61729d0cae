"""What all tests share: one event loop library, how many inputs hypothesis tries, which tests one worker runs, the
emulated engines, and `edge`."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator
from typing import Any

import certifi
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] - typed, but not marked so

from tests.support.edge import edge
from tests.support.miniflare import miniflare
from tests.support.ministack import ministack

__all__ = ["edge"]

# Each input goes through the whole app, so generation is a small part of the time and its speed depends on the machine:
# what hypothesis calls too slow is no fault of the strategy.
_UNHURRIED = (HealthCheck.too_slow,)
# In CI the inputs are the same in every run, so that a red run can be repeated; elsewhere each run tries new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=_UNHURRIED)
settings.register_profile("local", deadline=None, suppress_health_check=_UNHURRIED)
settings.load_profile("ci" if os.environ.get("CI") else "local")

_TOGETHER = ("tests/clients/oauth/", "tests/clients/", "tests/hosts/aws_lambda/")
"""Folders whose tests share processes: one worker starts them."""
_APART = (
    "tests/auth/identity/", "tests/auth/server/", "tests/clauses/", "tests/hosts/cli/", "tests/protocol/",
    "tests/records/", "tests/sdk/", "tests/storage/", "tests/wires/",
)  # fmt: skip
"""Folders whose tests share at most an emulated engine, which starts in a second: any worker takes the next test.
Elsewhere one worker takes a module, with the fixtures of the module."""


class Groups(LoadScopeScheduling):
    """Gives each worker of pytest-xdist one group of tests after another, the largest ones first."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return nodeid if _under(path, _APART) else _under(path, _TOGETHER) or path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


def _under(path: str, folders: Iterable[str]) -> str | None:
    return next((folder for folder in folders if path.startswith(folder)), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores, since many tests wait for a process that they have started. Not more than eight: each
    starts engines of its own, and the largest group takes as long as all else divided by so many."""
    return min((os.cpu_count() or 1) + 1, 8)


@pytest.fixture(scope="session", autouse=True)
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An HTTP client of this process reads one certificate authority, not the machine's hundred: that takes longer than
    most tests, none of which calls a server that they have signed for."""
    few = tmp_path_factory.mktemp("authorities") / "few.pem"
    end = "-----END CERTIFICATE-----\n"
    few.write_text(certifi.contents().partition(end)[0] + end)
    usual, create = (certifi.where(), os.environ.get("SSL_CERT_FILE")), ssl.create_default_context

    def quickly(
        purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH, *, cafile: str | None = None, **more: Any
    ) -> ssl.SSLContext:
        return create(purpose, cafile=str(few) if cafile and cafile in usual else cafile, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", quickly)
        yield


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    """A DynamoDB's endpoint, the same one for whoever brings a table of their own."""
    with ministack("dynamodb") as url:
        yield url


@pytest.fixture(scope="session")
def miniflare_url() -> Iterator[str]:
    """Miniflare's endpoint, the same one for whoever empties it first."""
    with miniflare() as url:
        yield url


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
