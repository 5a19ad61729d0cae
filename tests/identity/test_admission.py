"""Who may sign in, by which entry, and until when."""

from __future__ import annotations

import pytest

from mcp_edge.identity.admission import Admission
from mcp_edge.identity.provider import Refused

ENTRIES = ("Ann@Example.com", "@example.org", "login:Octo", "Subject-7")


@pytest.mark.parametrize(
    ("subject", "login", "emails", "entry"),
    [
        ("1", "", ["ANN@example.com"], "ann@example.com"),
        ("1", "", ["x@other.example", "bea@EXAMPLE.org"], "@example.org"),
        ("1", "OCTO", [], "login:octo"),
        ("Subject-7", "", [], "Subject-7"),
    ],
)
def test_an_entry_admits_for_as_long_as_it_is_on_the_list(
    subject: str, login: str, emails: list[str], entry: str
) -> None:
    assert Admission(ENTRIES).check(subject, login=login, emails=emails) == entry
    others = [e for e in ENTRIES if e.lower() != entry.lower()]
    assert (Admission(ENTRIES).still(entry), Admission(others).still(entry), Admission(["*"]).still(entry)) == (
        True,
        False,
        True,
    )
    with pytest.raises(Refused):
        Admission(others).check(subject, login=login, emails=emails)


@pytest.mark.parametrize("email", ["ann@example.com.evil.example", "ann@sub.example.org", "example.org", "@"])
def test_an_address_that_only_looks_like_an_entry_admits_nobody(email: str) -> None:
    with pytest.raises(Refused):
        Admission(ENTRIES).check("1", emails=[email])


def test_a_subject_stays_admitted_by_its_own_entry_and_by_none_that_looks_like_it() -> None:
    admitted = Admission(["aBcDeF"]).check("aBcDeF")
    assert [Admission([entry]).still(admitted) for entry in ("aBcDeF", "abcdef", "ABCDEF")] == [True, False, False]


def test_what_admitted_everybody_admits_nobody_once_there_is_a_list() -> None:
    assert not Admission(ENTRIES).still(Admission(["*"]).check("1"))
