"""Files that nobody but this process's user may change, and secrets that nobody else may read. It knows no option.

Whoever can put a file of their own where a secret or a database is looked for decides what the server trusts. So their
owner and mode are checked, on the descriptor that is then read, and those of the folder that they lie in.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from mcp_edge.errors import ConfigurationError

_ROOT = 0
_MAX_BYTES = 4096
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal")
"""What SQLite takes for the contents of a database: the file, and what lies beside it under these names."""


def make_folder(folder: Path) -> None:
    """Make `folder`, and what is missing above it, for its owner alone.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)


def kept_secret(file: Path, new: Callable[[], str], otherwise: str) -> str:
    """The secret in `file`, which is made with `new()` if absent; of processes that start at once, one makes it.

    Raises:
        ConfigurationError: others may read or change it, or it is no text. `otherwise` is the sentence of another way.
        OSError: it cannot be read or made.
    """
    make_folder(file.parent)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _refuse_shared(file.parent, os.fstat(folder), otherwise)
        try:
            return _read(file, folder, otherwise)
        except FileNotFoundError:
            _create(file.name, new(), folder)
            return _read(file, folder, otherwise)
    finally:
        os.close(folder)


def refuse_foreign_database(file: Path, otherwise: str) -> None:
    """Refuse a database that others may change, by its files or by their folder. Nothing is opened: to close any
    descriptor of the file would drop the locks that this process holds on it.

    Raises:
        ConfigurationError: as `kept_secret`; a database may be readable by others.
        OSError: it cannot be looked at.
    """
    _refuse_shared(file.parent, os.stat(file.parent), otherwise, root_anywhere=True)
    for suffix in _BESIDE_DATABASE:
        path = file.with_name(file.name + suffix)
        try:
            link, found = os.lstat(path), os.stat(path)
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in (_ROOT, os.geteuid()):
            raise ConfigurationError(f"{path} is a link that another user (uid {link.st_uid}) has made. {otherwise}")
        _refuse_foreign(path, found, (_ROOT, os.geteuid()), _OTHERS_WRITE, otherwise)


def _refuse_shared(folder: Path, found: os.stat_result, otherwise: str, *, root_anywhere: bool = False) -> None:
    """Refuse a folder whose files others may replace. In one with the sticky bit, such as /tmp, they may only add some.

    With `root_anywhere` root may use another user's folder: a container's volume that belongs to its host's user.
    """
    shown = folder.absolute()
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"The folder {shown} can be written to by others (mode {_mode(found)}), who could replace what is in it: "
            f"chmod go-w {shown}, or use a folder below it. {otherwise}"
        )
    us = os.geteuid()
    if found.st_uid not in (_ROOT, us) and not (root_anywhere and us == _ROOT):
        raise ConfigurationError(
            f"The folder {shown} belongs to another user (uid {found.st_uid}; this is uid {us}), who could replace "
            f"what is in it. {otherwise}"
        )


def _refuse_foreign(file: Path, found: os.stat_result, owners: Collection[int], forbidden: int, otherwise: str) -> None:
    """Refuse a file that is not one of the `owners`', or has a `forbidden` bit in its mode."""
    if found.st_uid not in owners:
        raise ConfigurationError(
            f"{file} belongs to another user (uid {found.st_uid}; this is uid {os.geteuid()}), who may have put it "
            f"there: remove it or, if you trust it, chown {os.geteuid()} {file}. {otherwise}"
        )
    if found.st_mode & forbidden:
        may = "read or written" if forbidden & stat.S_IRGRP else "written"
        raise ConfigurationError(
            f"{file} can be {may} by others (mode {_mode(found)}): remove it or, if nobody has done so, "
            f"chmod 600 {file}. {otherwise}"
        )


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"


def _read(file: Path, folder: int, otherwise: str) -> str:
    """The text of `file`, whose owner and mode are those of the very descriptor that is read."""
    # Without O_NONBLOCK the opening of a pipe waits for its other end.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(file.name, flags, dir_fd=folder)
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise ConfigurationError(f"{file} is a symbolic link: put the file itself there. {otherwise}") from e
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"{file} is no regular file: remove it. {otherwise}")
        _refuse_foreign(file, found, (os.geteuid(),), _OTHERS, otherwise)
        return os.read(handle, _MAX_BYTES).decode().strip(" \t\r\n")
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{file} holds no text: remove it. {otherwise}") from e
    finally:
        os.close(handle)


def _create(name: str, text: str, folder: int) -> None:
    """Give a file its content at once, readable by its owner only, unless another process was first."""
    draft = f"{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(draft, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "w") as f:
            f.write(text + "\n")
            f.flush()
            os.fsync(f.fileno())
        with suppress(FileExistsError):
            os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.unlink(draft, dir_fd=folder)
