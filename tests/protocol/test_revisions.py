"""The table of revisions agrees with the SDK, which serves them, and is the only place that names them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mcp_types as t
import pytest
from mcp_types import methods, version
from pydantic import ValidationError

from mcp_edge.protocol.revisions import HANDSHAKE_VERSIONS, LATEST_HANDSHAKE, MODERN, REVISIONS, Revision
from tests.support.root import ROOT

SOURCE = ROOT / "src/mcp_edge"
NAMED = re.compile(rf"(?:{'|'.join(REVISIONS)})(?!T)")
"""A revision's date, and no time of that day."""
EVERY = pytest.mark.parametrize("revision", REVISIONS.values(), ids=REVISIONS)


def test_each_revision_that_the_sdk_knows_is_in_the_table_in_its_order() -> None:
    assert tuple(REVISIONS) == version.KNOWN_PROTOCOL_VERSIONS
    assert HANDSHAKE_VERSIONS == version.HANDSHAKE_PROTOCOL_VERSIONS
    assert LATEST_HANDSHAKE.version == version.LATEST_HANDSHAKE_VERSION
    assert (MODERN.version,) == version.MODERN_PROTOCOL_VERSIONS


@EVERY
def test_the_sdk_has_the_methods_of_the_revision(revision: Revision) -> None:
    assert (("subscriptions/listen", revision.version) in methods.CLIENT_REQUESTS) == revision.has_listen
    assert (("initialize", revision.version) not in methods.CLIENT_REQUESTS) == (revision.family == "modern")


@EVERY
def test_the_sdk_requires_the_envelope_of_the_revision(revision: Revision) -> None:
    assert accepts(revision, {"name": "any"}) != revision.has_envelope


@EVERY
def test_the_sdk_writes_the_results_of_the_revision(revision: Revision) -> None:
    wire = methods.serialize_server_result("tools/call", revision.version, {"content": [], "resultType": "complete"})

    assert ("resultType" in wire) == revision.has_result_type
    assert is_result(revision, {"content": [], "structuredContent": {}, "resultType": "complete"})
    assert (
        is_result(revision, {"content": [], "structuredContent": [1], "resultType": "complete"})
        == revision.has_any_structured_content
    )
    assert is_input_required(revision) == revision.has_input_required


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_other_module_names_a_revision_outside_of_its_documentation(path: Path) -> None:
    named = [text for text in texts(ast.parse(path.read_text())) if NAMED.search(text)]

    assert sorted(named) == (list(REVISIONS) if path.name == "revisions.py" else [])


def accepts(revision: Revision, params: dict[str, object]) -> bool:
    """Whether the SDK takes `params` for those of a `tools/call` of `revision`."""
    try:
        methods.validate_client_request("tools/call", revision.version, params)
    except ValidationError:
        return False
    return True


def is_result(revision: Revision, wire: dict[str, object]) -> bool:
    """Whether the SDK takes `wire` for the result of a `tools/call` of `revision`, with nothing left out."""
    try:
        written = methods.serialize_server_result("tools/call", revision.version, wire)
    except ValidationError:
        return False
    return written.get("structuredContent") == wire["structuredContent"]


def is_input_required(revision: Revision) -> bool:
    """Whether the SDK takes an `InputRequiredResult` for the result of a `tools/call` of `revision`."""
    wire = t.InputRequiredResult(request_state="s").model_dump(by_alias=True, mode="json", exclude_none=True)
    try:
        return "requestState" in methods.serialize_server_result("tools/call", revision.version, wire)
    except ValidationError:
        return False


def texts(tree: ast.AST) -> Iterator[str]:
    """The literal texts of a module, in their order, without its documentation."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value
