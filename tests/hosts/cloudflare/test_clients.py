"""The official Python and TypeScript clients do everything with two isolates that they do with two processes: the same
tests, HTTP+SSE included, on a Worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients import test_python_client as python
from tests.clients import test_typescript_client as typescript
from tests.clients.conftest import APP
from tests.hosts.cloudflare.isolates import Isolates

pytestmark = [*python.pytestmark, pytest.mark.serial]  # Pyodide takes what time its client would wait
TESTS = {name: test for module in (python, typescript) for name, test in vars(module).items() if name[:5] == "test_"}
globals().update(TESTS)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Isolates]:
    """What the tests are tried on. The paid plan's budget: the Python client never comes back to an /sse stream."""
    with Isolates(app=APP, env={"SUBREQUESTS": "1000"}) as running:
        yield running
