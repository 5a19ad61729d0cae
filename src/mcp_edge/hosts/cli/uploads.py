"""What is kept of requests until they are answered: how much, for whom, and who gives way.

It knows no HTTP: a request has owners, a size, and may not have ended. What comes in one piece is not counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

MAX_HELD = 128 * 1024 * 1024
"""Bytes of requests that may be kept, in sum."""
MAX_HELD_OF_ONE = 32 * 1024 * 1024
"""The same for one user, and for one network."""


class Upload(Protocol):
    """A connection whose client sends a request bit by bit."""

    @property
    def owners(self) -> tuple[str, ...]:
        """The user and the network whose request it is, as far as they are known."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether the client has still to send of what it has begun."""
        ...

    def cut(self) -> None:
        """Refuse the request, and forget what has come of it."""
        ...


@dataclass(slots=True)
class _Held:
    owners: tuple[str, ...] = ()
    size: int = 0


class Uploads:
    """All of them."""

    def __init__(self, most_of_one: int) -> None:
        """`most_of_one` may be under way of one owner."""
        self._most_of_one = most_of_one
        self._held: dict[Upload, _Held] = {}
        """In the order of their beginning."""
        self._sum = 0
        self._sizes: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def hold(self, upload: Upload, size: int) -> None:
        """So much of it is kept now. Where that is too much, the oldest ones of who has the most give way."""
        held = self._held.setdefault(upload, _Held())
        if held.owners != (owners := upload.owners):
            self._count(held, -1)
            held.owners = owners
            self._count(held, 1)
        for owner in owners:
            self._sizes[owner] += size - held.size
        self._sum += size - held.size
        held.size = size
        for owner in owners:
            # The only one of an owner stays: how large it may be is for others to say.
            while (self._sizes[owner] > MAX_HELD_OF_ONE and self._counts[owner] > 1) or (
                self._counts[owner] > self._most_of_one
            ):
                if not self._cut_oldest(owner):
                    break
        while self._sum > MAX_HELD and len(self._held) > 1:
            if not (self._cut_oldest(max(self._sizes, key=self._sizes.__getitem__, default="")) or self._cut_oldest()):
                break

    def _cut_oldest(self, owner: str | None = None) -> bool:
        """Cut off what has been on its way for longest; what has arrived whole is served."""
        for upload, held in self._held.items():
            if (owner is None or owner in held.owners) and upload.unfinished:
                self.release(upload)
                upload.cut()
                return True
        return False

    def release(self, upload: Upload) -> None:
        """Nothing is kept of it any more."""
        held = self._held.pop(upload, None)
        if held is not None:
            self._sum -= held.size
            self._count(held, -1)

    def _count(self, held: _Held, sign: int) -> None:
        for owner in held.owners:
            self._sizes[owner] += sign * held.size
            self._counts[owner] += sign
            if not self._counts[owner]:
                del self._sizes[owner], self._counts[owner]
