"""`MCP_STORE` names a store, or the server says which ones there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mcp_edge.errors import ConfigurationError
from mcp_edge.storage.choose import open_store
from mcp_edge.storage.dynamodb import DynamoDBAtomics, DynamoDBRecords
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords
from mcp_edge.storage.sqlite import SQLiteAtomics, SQLiteRecords


def test_memory_is_chosen_by_its_scheme() -> None:
    assert [type(store) for store in open_store("memory:")] == [MemoryRecords, MemoryAtomics]


@pytest.mark.anyio
async def test_sqlite_is_chosen_by_its_scheme_and_uses_the_path(tmp_path: Path) -> None:
    records, atomics = open_store(f"sqlite:{tmp_path}/new folder/a:b?.db")
    assert [type(store) for store in (records, atomics)] == [SQLiteRecords, SQLiteAtomics]
    assert list(tmp_path.iterdir()) == []
    await records.put("a", b"one")
    assert (tmp_path / "new folder" / "a:b?.db").is_file()
    await records.aclose()


@pytest.mark.parametrize(
    "url", ["", "sqlite", "dynamodb", "postgres://me:hunter2@host/db", "memory", "memory:x", "/var/lib/mcp.db"]
)
def test_an_unknown_store_is_answered_with_the_known_ones(url: str) -> None:
    with pytest.raises(ConfigurationError, match="use `sqlite:PATH`, `dynamodb:TABLE` or `memory:`") as refusal:
        open_store(url)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("url", ["sqlite:", "sqlite::memory:"])
def test_sqlite_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="needs the path of a file"):
        open_store(url)


def test_dynamodb_is_chosen_by_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert [type(store) for store in open_store("dynamodb:my-table")] == [DynamoDBRecords, DynamoDBAtomics]


@pytest.mark.parametrize("url", ["dynamodb:", "dynamodb:ab", "dynamodb:a table"])
def test_dynamodb_without_a_table_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    with pytest.raises(ConfigurationError, match="needs a table's name"):
        open_store(url)


def test_dynamodb_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mcp_edge.storage.dynamodb", raising=False)
    monkeypatch.delitem(sys.modules, "mcp_edge.storage.dynamodb_client", raising=False)
    monkeypatch.delitem(sys.modules, "mcp_edge.storage.dynamodb_table", raising=False)
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(ConfigurationError, match=r"the extra `lambda`"):
        open_store("dynamodb:my-table")


def test_a_store_that_is_not_chosen_is_not_imported() -> None:
    script = "import sys; from mcp_edge.storage.choose import open_store; open_store('memory:')"
    script += "; print([name for name in ('sqlite3', 'botocore') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
