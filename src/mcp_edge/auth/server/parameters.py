"""Parameters of a query or of a form (application/x-www-form-urlencoded), each of which may come once. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Self
from urllib.parse import parse_qsl

from mcp_edge.errors import BadRequest

_MOST = 100


class Parameters:
    """The parameters of one request. One without a value counts as absent, and none may be repeated (RFC 6749 §3.1)."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = [(name, value) for name, value in pairs if value]
        counted = Counter(name for name, _ in self._pairs)
        self.repeated = frozenset(name for name, times in counted.items() if times > 1)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """The parameters in `raw`.

        Raises:
            BadRequest: it is not of that form, not UTF-8, or has too many.
        """
        try:
            text = raw.decode("ascii")
            return cls(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST))
        except ValueError:
            raise BadRequest("The parameters of this request cannot be read.") from None

    def one(self, name: str) -> str:
        """The value of `name`, empty when it is absent.

        Raises:
            BadRequest: it is repeated.
        """
        if name in self.repeated:
            raise BadRequest(f"The parameter {name} appears more than once.")
        return next((value for key, value in self._pairs if key == name), "")

    def words(self, name: str) -> list[str]:
        """The words of a list, which spaces part and nothing else does (RFC 6749 §3.3).

        Raises:
            BadRequest: it is repeated.
        """
        return [word for word in self.one(name).split(" ") if word]

    def all(self, name: str) -> list[str]:
        """Every value of `name`, for what may be chosen several times."""
        return [value for key, value in self._pairs if key == name]
