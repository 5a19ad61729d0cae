"""The worst calls of `make bench`, against the server as it is started: what they may take, and leave in the store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from benchmarks.worst import MOST_GROWTH_MIB, measure
from benchmarks.worst_calls import CALLS
from mcp_edge.storage.dynamodb_table import create_table
from tests.support.ministack import CREDENTIALS, ministack

MOST_STORED_BYTES = 1024 * 1024
"""Of an SQLite file, its log included; empty it has a tenth of that."""

pytestmark = pytest.mark.serial


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[dict[str, str]]:
    with ministack("dynamodb") as url, pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)

        async def create() -> None:
            await create_table("worst", endpoint_url=url)

        anyio.run(create)
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": url}


def check(what: str, store: str, env: dict[str, str]) -> None:
    cost = measure(CALLS[what](), store, env)
    sizes = [int(size.replace(",", "")) for size in re.findall(r"([0-9,]+) B", cost.said)]

    assert cost.growth_mib is None or cost.growth_mib < MOST_GROWTH_MIB
    assert sizes, cost.said
    assert max(sizes) < 64 * 1024  # a batch has 64 answers


@pytest.mark.parametrize("what", CALLS)
def test_the_worst_call_takes_and_stores_little(what: str, tmp_path: Path) -> None:
    check(what, f"sqlite:{tmp_path}/worst.db", {})

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < MOST_STORED_BYTES


@pytest.mark.parametrize("what", [what for what in CALLS if "wrong items" in what])
def test_the_worst_call_takes_little_on_dynamodb(what: str, dynamodb: dict[str, str]) -> None:
    check(what, "dynamodb:worst", dynamodb)
