"""`RecordStore` on a KV namespace of Cloudflare. It is given the binding and knows no other store.

A value crosses as text, one character for each byte (Latin-1): a string is the only thing that neither Python nor
JavaScript wraps, and JSON, which most values are, does not grow by it. KV lets nothing live for less than a minute and
may remove late, so a value carries its own end; the end is in the metadata too, where a list finds it.

KV is eventual. What one location writes or deletes, another may see after 60 seconds and a little more; a miss is
cached as long as a hit. So nothing may wait for a key to appear here, and an `AtomicStore` cannot be built on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from math import ceil, inf
from typing import Any, Protocol, TypeVar

import anyio

from mcp_edge.errors import StoreUnavailable
from mcp_edge.storage.javascript import JsException
from mcp_edge.storage.keys import checked, span

FORMAT = "1"
"""What a value begins with. Another format is another release's, and no value to this one."""

LEAST_TTL_S = 60
_PAGE = 1000
_SAME_KEY_S = 1.1
"""KV takes one write of a key in a second and refuses the next with 429."""
_STATUS = re.compile(r"failed: (\d{3})")

_T = TypeVar("_T")


class Listing(Protocol):
    """What a list resolves to, still in JavaScript."""

    def to_py(self) -> dict[str, Any]:
        """`keys` (each with `name` and `metadata`), `list_complete`, and `cursor` while it is not."""
        ...


class KVNamespace(Protocol):
    """The binding as JavaScript gives it, not in the SDK's wrapper, which costs half as much again.

    Keyword arguments become the options object.
    """

    def get(self, key: str, kind: str, /) -> Awaitable[Any]: ...
    def put(self, key: str, value: str, /, **options: float) -> Awaitable[Any]: ...
    def delete(self, key: str, /) -> Awaitable[Any]: ...
    def list(self, **options: str | int) -> Awaitable[Listing]: ...


class KVRecords:
    """`RecordStore` on a KV namespace. One operation of KV per call; `list` takes one per 1,000 keys it passes."""

    def __init__(self, namespace: KVNamespace, clock: Callable[[], float] = time.time) -> None:
        self._namespace = namespace
        self._clock = clock

    async def get(self, key: str) -> bytes | None:
        try:
            checked(key)
        except ValueError:
            return None  # KV would refuse it
        found = await _settled(lambda: self._namespace.get(key, "text"))
        # JavaScript's null is not Python's None on every Pyodide.
        if not isinstance(found, str):
            return None
        form, _, rest = found.partition(" ")
        end, _, body = rest.partition("\n")
        return body.encode("latin-1") if form == FORMAT and float(end) > self._clock() else None

    async def put(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        checked(key)
        expires_at = inf if ttl_s is None else self._clock() + ttl_s
        text = f"{FORMAT} {expires_at}\n{value.decode('latin-1')}"
        # No `metadata` for an endless record: JSON has no infinity.
        options = {} if ttl_s is None else {"expirationTtl": max(ceil(ttl_s), LEAST_TTL_S), "metadata": expires_at}
        await _settled(lambda: self._namespace.put(key, text, **options), again=True)

    async def delete(self, key: str) -> None:
        checked(key)
        await _settled(lambda: self._namespace.delete(key), again=True)

    async def list(self, prefix: str, *, after: str = "", limit: int = 100) -> list[str]:
        # KV begins a list at its prefix or at a cursor of its own, never at a key: what comes before is passed over.
        first, _ = span(prefix, after)
        options: dict[str, str | int] = {"limit": _PAGE, **({"prefix": prefix} if prefix else {})}
        now = self._clock()
        found: list[str] = []
        while len(found) < limit:
            page = (await _settled(lambda: self._namespace.list(**options))).to_py()
            for entry in page["keys"]:
                end = entry.get("metadata")
                if entry["name"] >= first and not (isinstance(end, int | float) and end <= now):
                    found.append(entry["name"])
            if page["list_complete"]:
                break
            options["cursor"] = page["cursor"]
        return found[: max(limit, 0)]

    async def sweep(self, *, limit: int = 1000) -> int:
        """KV removes what expired by itself."""
        return 0

    async def aclose(self) -> None:
        """The binding is the host's."""


async def _settled(call: Callable[[], Awaitable[_T]], *, again: bool = False) -> _T:
    """What `call` resolves to. With `again`, a write that came too soon after another of its key is repeated once.

    Raises:
        StoreUnavailable: KV failed, or its quota is used up.
        JsException: the call itself is wrong.
    """
    try:
        return await call()
    except JsException as e:
        found = _STATUS.search(str(e))
        status = int(found[1]) if found else 500
        if status == 429 and again:
            await anyio.sleep(_SAME_KEY_S)
            return await _settled(call)
        if 400 <= status < 500 and status != 429:
            raise
        raise StoreUnavailable(f"KV failed: {e}") from e
