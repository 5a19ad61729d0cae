"""Secrets and databases that others could have put in place, or could read, are refused before they are trusted."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_edge.errors import ConfigurationError, StoreUnavailable
from mcp_edge.hosts.exposure import with_secret
from mcp_edge.settings import Settings
from mcp_edge.storage.sqlite import open_sqlite
from tests.hosts.cli.command import clean_env, mcp_edge
from tests.hosts.cli.test_serve import serving

PLANTED = "planted-by-somebody-else-5f3a9c1b7e0a2d83\n"
OTHER = 12345


def secret_of(folder: Path) -> str:
    (secret,) = with_secret(Settings(store=f"sqlite:{folder / 'mcp.db'}")).secret_keys
    return secret.get_secret_value()


def planted(folder: Path, mode: int = 0o600) -> Path:
    """A secret that is there already."""
    file = folder / "mcp.db.secret"
    file.write_text(PLANTED)
    file.chmod(mode)
    return file


def _linked(folder: Path) -> None:
    planted(folder).rename(folder / "elsewhere")
    (folder / "mcp.db.secret").symlink_to(folder / "elsewhere")


def _dangling(folder: Path) -> None:
    (folder / "mcp.db.secret").symlink_to(folder / "nothing")


def _binary(folder: Path) -> None:
    planted(folder).write_bytes(b"\xff" * 40)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "group may read": (lambda folder: planted(folder, 0o640), "mode 0640"),
    "all may read": (lambda folder: planted(folder, 0o604), "mode 0604"),
    "all may write": (lambda folder: planted(folder, 0o602), "mode 0602"),
    "group may run": (lambda folder: planted(folder, 0o610), "mode 0610"),
    "a link": (_linked, "is a symbolic link"),
    "a link to nothing": (_dangling, "is a symbolic link"),
    "a folder": (lambda folder: (folder / "mcp.db.secret").mkdir(0o700), "is no regular file"),
    "a pipe": (lambda folder: os.mkfifo(folder / "mcp.db.secret", 0o600), "is no regular file"),
    "no text": (_binary, "holds no text"),
    "in a folder of all": (lambda folder: (planted(folder), folder.chmod(0o777)), "mode 0777"),
    "in a folder of a group": (lambda folder: (planted(folder), folder.chmod(0o770)), "mode 0770"),
    "in a drop box": (lambda folder: (planted(folder), folder.chmod(0o733)), "mode 0733"),
    "nothing in a folder of all": (lambda folder: folder.chmod(0o777), "chmod go-w"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_secret_that_is_not_ours_alone_is_refused(tmp_path: Path, fault: str) -> None:
    spoil, says = FAULTS[fault]
    spoil(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ConfigurationError) as refused:
        secret_of(tmp_path)
    assert says in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert str(refused.value).endswith("Or set MCP_SECRET_KEYS.")
    assert PLANTED.strip() not in str(refused.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_secret_that_another_user_has_made_is_refused_to_everybody_root_included(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path)
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    planted(folder)
    for us in (OTHER, 0):
        monkeypatch.setattr(os, "geteuid", lambda us=us: us)
        if os.getuid() == us:
            continue
        for where in (tmp_path, folder):
            with pytest.raises(ConfigurationError, match="belongs to another user"):
                secret_of(where)


def test_serve_refuses_a_file_that_another_user_has_put_into_a_shared_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    planted(folder)
    us = os.getuid()
    if us == 0:
        os.chown(folder / "mcp.db.secret", OTHER, OTHER)
    # Who may not give a file away looks at it as another user.
    eyes = 0 if us == 0 else OTHER
    command = f"import os, sys; os.geteuid = lambda: {eyes}\n"
    command += "from mcp_edge.hosts.cli import main\nsys.exit(main.main(sys.argv[1:]))"
    options = ["serve", "--port", "0", "--store", f"sqlite:{folder / 'mcp.db'}"]
    done = subprocess.run(
        [sys.executable, "-c", command, *options],
        cwd=tmp_path,
        env=clean_env(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "mcp.db.secret belongs to another user (uid" in done.stderr


@pytest.mark.parametrize("fault", ["all may read", "a link", "in a folder of all"])
def test_serve_ends_with_a_sentence(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    FAULTS[fault][0](folder)
    for wire in ([], ["--stdio"], ["--workers", "2"]):
        done = mcp_edge("serve", "--port", "0", *wire, "--store", f"sqlite:{folder / 'mcp.db'}", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "Or set MCP_SECRET_KEYS." in done.stderr


def test_a_secret_of_ours_is_read_in_a_folder_of_ours_a_sticky_one_and_a_linked_one(tmp_path: Path) -> None:
    for mode in (0o700, 0o755, 0o1777):
        tmp_path.chmod(mode)
        planted(tmp_path, 0o600 if mode != 0o755 else 0o400)
        assert secret_of(tmp_path) == PLANTED.strip()
        (tmp_path / "mcp.db.secret").unlink()
    (tmp_path / "volume").symlink_to(tmp_path)
    assert secret_of(tmp_path / "volume") == secret_of(tmp_path)


def test_folders_that_are_made_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret_of(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.listdir(tmp_path / "a" / "b") == ["mcp.db.secret"]


def test_what_serve_makes_is_its_owners_alone(tmp_path: Path) -> None:
    with serving(tmp_path):
        modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes.pop(".data") == 0o700
    assert set(modes.values()) == {0o600}
    assert {".data/mcp.db", ".data/mcp.db.secret"} <= modes.keys()


# -- the database ------------------------------------------------------------------------------------------------------


async def opened(folder: Path) -> None:
    records, _ = open_sqlite(folder / "mcp.db")
    try:
        await records.put("a", b"1")
    finally:
        await records.aclose()


DATABASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "all may write": (lambda folder: (folder / "mcp.db").chmod(0o666), "mode 0666"),
    "group may write": (lambda folder: (folder / "mcp.db").chmod(0o620), "mode 0620"),
    "the log": (
        lambda folder: ((folder / "mcp.db-wal").touch(), (folder / "mcp.db-wal").chmod(0o602)),
        "mcp.db-wal can",
    ),
    "the journal": (
        lambda folder: ((folder / "mcp.db-journal").touch(), (folder / "mcp.db-journal").chmod(0o602)),
        "mcp.db-journal can",
    ),
    "the folder": (lambda folder: folder.chmod(0o777), "mode 0777"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("fault", DATABASES)
async def test_a_database_that_others_may_change_is_refused(tmp_path: Path, fault: str) -> None:
    await opened(tmp_path)
    spoil, says = DATABASES[fault]
    spoil(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        await opened(tmp_path)
    assert says in str(refused.value)
    assert "MCP_STORE" in str(refused.value)


@pytest.mark.anyio
async def test_a_database_of_another_user_is_refused_even_to_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(tmp_path)
    if os.getuid() == 0:
        os.chown(tmp_path / "mcp.db", OTHER, OTHER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        await opened(tmp_path)


@pytest.mark.anyio
async def test_a_database_of_ours_is_opened_wherever_others_may_only_read(tmp_path: Path) -> None:
    for mode in (0o700, 0o755, 0o1777):
        tmp_path.chmod(mode)
        await opened(tmp_path)
        (tmp_path / "mcp.db").chmod(0o644)
    (tmp_path / "volume").symlink_to(tmp_path)
    await opened(tmp_path / "volume")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mcp.db").symlink_to(tmp_path / "mcp.db")
    await opened(tmp_path / "other")


@pytest.mark.anyio
async def test_root_uses_a_volume_that_belongs_to_its_hosts_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() == 0:
        os.chown(tmp_path, OTHER, OTHER)
        await opened(tmp_path)
    else:
        await opened(tmp_path)
        monkeypatch.setattr(os, "geteuid", lambda: OTHER)
        with pytest.raises(ConfigurationError, match=r"The folder .* belongs to another user"):
            await opened(tmp_path)


@pytest.mark.anyio
async def test_a_server_that_runs_answers_503_where_its_database_was_opened_to_others(tmp_path: Path) -> None:
    records, _ = open_sqlite(tmp_path / "mcp.db")
    await records.put("a", b"1")
    await records.aclose()
    tmp_path.chmod(0o777)
    with pytest.raises(StoreUnavailable, match="mode 0777"):
        await records.get("a")
    tmp_path.chmod(0o700)
    assert await records.get("a") == b"1"
    await records.aclose()
