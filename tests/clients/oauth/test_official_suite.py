"""The scenarios of the official conformance suite for authorization servers, each of whose links a person follows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from tests.clients.oauth.person import Person
from tests.conformance.suite import CHECKS, Check
from tests.support.fleet import Fleet, free_port
from tests.support.node import bin_path, node_command, node_env

pytestmark = pytest.mark.anyio

CLIENT = "conformance"
"""A static client of the fleet's settings: the suite registers none."""
DEADLINE_S = 60


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"])
async def test_every_check_of_the_authorization_scenarios_passes(
    fleet: Fleet, person: Person, tmp_path: Path, version: str
) -> None:
    found = await _run(fleet, person, tmp_path, version)
    metadata = ["authorization-server-metadata"]
    if version >= "2025-11-25":
        metadata.append("authorization-server-metadata-cimd")
    assert {name: [(check.id, check.status) for check in checks] for name, checks in found.items()} == {
        "authorization-server-metadata-endpoint": [(name, "SUCCESS") for name in metadata],
        "authorization-code-grant": [("authorization-code-grant", "SUCCESS")],
    }, found


async def _run(fleet: Fleet, person: Person, folder: Path, version: str) -> dict[str, list[Check]]:
    """The suite's checks by scenario; every link that it prints is followed and allowed."""
    output = ""
    followed = 0
    with anyio.fail_after(DEADLINE_S):
        command = [
            *(*node_command(), bin_path("conformance"), "authorization", "--url", fleet.url, "--spec-version", version),
            *("--client-id", CLIENT, "--resource", f"{fleet.url}/mcp", "--port", str(free_port()), "-o", str(folder)),
        ]
        async with await anyio.open_process(command, env=node_env(), stderr=subprocess.STDOUT) as process:
            assert process.stdout is not None
            async for chunk in TextReceiveStream(process.stdout):
                output += chunk
                links = re.findall(rf"^{fleet.url}/authorize\S+$", output, re.MULTILINE)
                for link in links[followed:]:
                    await person.allow(link)
                followed = len(links)
    assert process.returncode == 0, output
    return {_scenario(path): CHECKS.validate_json(path.read_bytes()) for path in folder.glob("*/checks.json")}


def _scenario(path: Path) -> str:
    """`authorization-server-NAME-2026-01-31T10-20-30-400Z/checks.json` -> `NAME`."""
    return re.sub(r"-\d{4}-\d{2}-\d{2}T[\d-]+Z$", "", path.parent.name.removeprefix("authorization-server-"))
