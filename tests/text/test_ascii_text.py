"""One place knows what white space, capitals and digits are; nothing that reads requests does it otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from mcp_edge.text.ascii import digits, listed, lowered, media_type, stripped
from tests.support.root import ROOT

ODD = [
    *(bytes([byte]) for byte in (0xA0, 0x85, 0x1C, 0x1D, 0x1E, 0x1F, 0x0B, 0x0C, 0x0D, 0x0A, 0x00, 0x7F)),
    *(letter.encode() for letter in "\u00a0\u0085\u2003\u2028\u200b\ufeff\u3000"),
]
"""What some reading takes for white space, or for nothing at all."""


@pytest.mark.parametrize("odd", ODD)
def test_only_space_and_tab_are_around_a_value(odd: bytes) -> None:
    for text in (odd.decode("latin-1"), odd.decode("utf-8", "replace")):
        assert stripped(f" \t{text}a{text}\t ") == f"{text}a{text}"
    assert stripped(b" \t" + odd + b"a" + odd + b"\t ") == odd + b"a" + odd
    assert listed(b"a" + odd + b", ,\tb") == [b"a" + odd, b"b"]
    assert media_type(odd + b"Text/HTML" + odd + b" ; charset=x") == odd + b"text/html" + odd


def test_only_ascii_letters_have_case() -> None:
    assert lowered("AZaz09-\u212a\u0130\u00c5\u1e9e\uff21\u0391") == "azaz09-\u212a\u0130\u00c5\u1e9e\uff21\u0391"
    assert lowered("AZ@[`{") == "az@[`{"
    assert lowered(b"AZ\xc5\xc0") == b"az\xc5\xc0"


@pytest.mark.parametrize(
    "text", ["\u00b2", "1\u00b2", "\uff11", "\u0661", "\u2460", "\u096a", "1_0", " 1", "1\n", "+1", ""]
)
def test_only_ascii_digits_are_digits(text: str) -> None:
    assert not digits(text)
    assert not digits(text.encode())
    assert digits("0123456789")
    assert digits(b"007")


# -- the source -------------------------------------------------------------------------------------------------------

OTHERS = ("auth/server", "hosts/cli", "pages", "storage", "telemetry")
"""Packages that read what an operator, a store or this server itself has written; `auth/server` and `pages` have tests
of their own for what browsers send."""
OWN = {
    ("text/ascii.py", "lower"),
    ("text/ascii.py", "isdigit"),
    ("settings.py", "upper"),  # the names of our own options
    ("hosts/cloudflare/environment.py", "upper"),  # the same
    ("hosts/exposure.py", "lower"),  # how weak an operator's secret is
    ("sdk/arguments.py", "title"),  # an attribute of pydantic's error
}
UNICODE = {
    "lower", "upper", "casefold", "title", "capitalize", "swapcase", "expandtabs", "splitlines",
    "isdigit", "isdecimal", "isnumeric", "isalnum", "isalpha", "isspace", "isidentifier",
}  # fmt: skip
"""Methods of `str` that know Unicode."""
WHITE = {"strip", "lstrip", "rstrip", "split", "rsplit"}
"""Methods that do unless they are told what to take off, or where to split."""
PATTERNS = ("\\d", "\\s", "\\w", "\\b", "\\D", "\\S", "\\W", "\\B")


def found() -> Iterator[tuple[str, str, int]]:
    """File, name and line of everything that reads text by Unicode's rules."""
    package = ROOT / "src" / "mcp_edge"
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        if place.as_posix().startswith(OTHERS):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in UNICODE:
                yield place.as_posix(), node.attr, node.lineno
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                bare = not node.args or (isinstance(node.args[0], ast.Constant) and node.args[0].value is None)
                if node.func.attr in WHITE and bare:
                    yield place.as_posix(), node.func.attr, node.lineno
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from ((place.as_posix(), mark, node.lineno) for mark in PATTERNS if mark in node.value)


def test_nothing_that_reads_requests_reads_them_by_unicodes_rules() -> None:
    seen = list(found())

    assert [place for place in seen if place[:2] not in OWN] == []
    assert {place[:2] for place in seen} == OWN, "an exception that is needed no more"
