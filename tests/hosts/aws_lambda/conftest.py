"""The artefact that `sam build` makes is built once; the deployments of it are as short-lived as their tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from mcp_edge.storage.dynamodb_table import create_table
from tests.support import lambda_artefact as artefact
from tests.support.function_url import FunctionUrl
from tests.support.ministack import CREDENTIALS

Mode = Literal["buffered", "streamed"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function as `sam build` leaves it."""
    folder = tmp_path_factory.mktemp("sam")
    done = artefact.build(folder)
    assert done.returncode == 0, done.stdout
    return artefact.artefact(folder)


class Lambda:
    """Deploys the artefact as often as tests like, each time over a table of its own."""

    def __init__(self, built: Path, dynamodb: str, folder: Path, stack: ExitStack) -> None:
        self.built = built
        self._dynamodb = dynamodb
        self._folder = folder
        self._stack = stack

    def variables(self, code: Path, settings: dict[str, str]) -> dict[str, str]:
        """The environment of a function over a new table."""
        table = f"table-{uuid4().hex}"
        with pytest.MonkeyPatch.context() as patch:
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
            asyncio.run(create_table(table, endpoint_url=self._dynamodb, region=artefact.REGION))
        env = artefact.variables(code, store=f"dynamodb:{table}", **settings)
        return {**env, "AWS_ENDPOINT_URL_DYNAMODB": self._dynamodb}

    def deploy(
        self,
        mode: Mode,
        *,
        app: str = "",
        settings: dict[str, str] | None = None,
        variables: dict[str, str] | None = None,
        count: int = 2,
        timeout_s: float = 30,
        tracebacks: bool = False,
    ) -> FunctionUrl:
        """Put the artefact, or a fork of it that serves `app`, behind a Function URL until the tests are over.

        `variables` go over the usual ones; an empty one is not there.
        """
        code = artefact.fork(self.built, self._folder / uuid4().hex, app) if app else self.built
        command = artefact.streaming_command(code) if mode == "streamed" else artefact.buffered_command()
        env = self.variables(code, settings or {})
        env = {k: v for k, v in (env | (variables or {})).items() if v}
        front = FunctionUrl(command, env, code, count=count, timeout_s=timeout_s, tracebacks=tracebacks)
        return self._stack.enter_context(front)


@pytest.fixture(scope="module")
def function(built: Path, dynamodb_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    """What is deployed lives until the module's tests are over."""
    with ExitStack() as stack:
        yield Lambda(built, dynamodb_url, tmp_path_factory.mktemp("function"), stack)


@pytest.fixture
def once(built: Path, dynamodb_url: str, tmp_path: Path) -> Iterator[Lambda]:
    """What is deployed lives as long as one test."""
    with ExitStack() as stack:
        yield Lambda(built, dynamodb_url, tmp_path, stack)
