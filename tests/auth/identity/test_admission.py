"""Who may sign in, by which entry, and until when."""

from __future__ import annotations

import pytest

from mcp_edge.auth.identity.admission import Admission
from mcp_edge.auth.identity.provider import SignInRefused
from mcp_edge.auth.modes import choose_mode
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import ConfigurationError
from mcp_edge.platform import Platform
from mcp_edge.settings import Settings
from mcp_edge.storage.memory import MemoryAtomics, MemoryRecords

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
    with pytest.raises(SignInRefused):
        Admission(others).check(subject, login=login, emails=emails)


@pytest.mark.parametrize("email", ["ann@example.com.evil.example", "ann@sub.example.org", "example.org", "@"])
def test_an_address_that_only_looks_like_an_entry_admits_nobody(email: str) -> None:
    with pytest.raises(SignInRefused):
        Admission(ENTRIES).check("1", emails=[email])


def test_a_subject_stays_admitted_by_its_own_entry_and_by_none_that_looks_like_it() -> None:
    admitted = Admission(["aBcDeF"]).check("aBcDeF")
    assert [Admission([entry]).still(admitted) for entry in ("aBcDeF", "abcdef", "ABCDEF")] == [True, False, False]


def test_what_admitted_everybody_admits_nobody_once_there_is_a_list() -> None:
    assert not Admission(ENTRIES).still(Admission(["*"]).check("1"))


LOOKALIKES = [
    "\u212a",  # KELVIN SIGN, whose small letter is k
    "\u0131",  # DOTLESS I
    "\u0130",  # I WITH DOT ABOVE, whose small letter is i and a mark
    "\uff4b",  # FULLWIDTH K
    "\u043a",  # a Cyrillic one
    "\u017f",  # LONG S
    "\u00df",  # SHARP S
    "\u00e4",
    "\u00a0",
    "\u0085",
    "\u200b",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1f",
    " ",
    "\t",
    "\n",
]


@pytest.mark.parametrize("letter", LOOKALIKES)
def test_a_letter_that_is_not_ascii_is_no_other_letter(letter: str) -> None:
    admission = Admission(["mike@kraken.com", "@kraken.com", "login:mike-ks", "mike"])
    assert admission.check("1", emails=["MIKE@KRAKEN.COM"]) == "mike@kraken.com"
    assert admission.check("1", emails=["other@KRAKEN.com"]) == "@kraken.com"
    assert admission.check("1", login="MIKE-KS") == "login:mike-ks"
    for plain in "ki":
        name = "mike".replace(plain, letter)
        domain = "kraken.com".replace(plain, letter) if plain == "k" else f"krak{letter}en.com"
        told: list[tuple[str, str, list[str]]] = [
            ("1", "", [f"x@{domain}"]),
            ("1", "", [f"x@kraken.com{letter}", f"x@{letter}kraken.com", "x@@kraken.com", f"x@{letter}@kraken.com"]),
            ("1", f"{name}-ks", []),
            ("1", f"mike-ks{letter}", []),
            (name, "", []),
            (f"mike{letter}", "", []),
        ]
        for subject, login, emails in told:
            with pytest.raises(SignInRefused) as refused:
                admission.check(subject, login=login, emails=emails)
            assert refused.value.reason.startswith("not in the list")
            said = "is not ASCII does not count" in refused.value.reason
            assert said is not all(text.isascii() for text in (login, *emails))
    with pytest.raises(SignInRefused):
        Admission(["mike@kraken.com"]).check("1", emails=[f"mi{letter}e@kraken.com", f"mike{letter}@kraken.com"])


@pytest.mark.parametrize(
    "email", ["", "@", "x", "@kraken.com", "x@", "x@y@kraken.com", '"x@y"@kraken.com', "x y@kraken.com"]
)
def test_what_is_no_address_is_of_no_domain(email: str) -> None:
    with pytest.raises(SignInRefused):
        Admission(["@kraken.com"]).check("1", emails=[email])


NO_ENTRIES = [
    ("", "it is empty"),
    ("@", "neither an address nor"),
    ("@@example.com", "neither"),
    (" @example.com", "neither"),
    ("\u00a0@example.com", "in ASCII, as `xn--"),
    ("@example.com ", "neither"),
    ("@exam ple.com", "neither"),
    ("@example..com", "neither"),
    ("@.example.com", "neither"),
    ("@example.com.", "neither"),
    ("@-example.com", "neither"),
    ("@*.example.com", "neither"),
    ("*@example.com", "neither"),
    ("@b\u00fccher.example", "in ASCII, as `xn--"),
    ("@\u212araken.com", "in ASCII, as `xn--"),
    ("x@\u212araken.com", "in ASCII, as `xn--"),
    ("mi\u212ae@kraken.com", "by the subject"),
    ("x@y@z", "neither"),
    ("x@", "neither"),
    ("x y@example.com", "neither"),
    ("x@example.com\n", "neither"),
    ("login:", "login:NAME"),
    ("login: octo", "login:NAME"),
    ("login:octo ", "login:NAME"),
    ("login:o@cto", "login:NAME"),
    ("login:\u212a", "login:NAME"),
    ("login:*", "login:NAME"),
    ("Login:octo", "login:NAME"),
    ("LOGIN:octo", "login:NAME"),
    ("**", "a subject has"),
    ("*.example.com", "a subject has"),
    ("a b", "a subject has"),
    ("a\u00a0", "a subject has"),
    ("a\u200b", "a subject has"),
    ("a\n", "a subject has"),
    ("\t", "a subject has"),
    ("a" * 256, "a subject has"),
]


@pytest.mark.parametrize(("entry", "why"), NO_ENTRIES)
def test_an_entry_that_would_let_nobody_in_ends_the_start_and_is_named(entry: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Admission(["ann@example.com", entry])

    assert f"MCP_ALLOWED_USERS: the entry {entry!r} would let nobody in: " in str(refused.value)
    assert why in str(refused.value)


def app(allowed: str) -> None:
    """Start a server with this list, as the environment has it."""

    async def scopes() -> Scopes:
        raise AssertionError("nobody asks")

    env = {
        "MCP_AUTH": "oauth",
        "MCP_PUBLIC_URL": "https://mcp.example",
        "MCP_IDENTITY": "github",
        "MCP_IDENTITY_CLIENT_ID": "mcp",
        "MCP_ALLOWED_USERS": allowed,
    }
    choose_mode(Platform(Settings.from_env(env), MemoryRecords(), MemoryAtomics()), scopes)


@pytest.mark.parametrize(
    "allowed",
    [
        "a@x.example,,b@x.example",
        "a@x.example,",
        ",",
        " ",
        "a@x.example, \u00a0@x.example",
        "@",
        "x@y@z",
        "login:",
        "a b",
    ],
)
def test_a_list_with_such_an_entry_ends_the_start(allowed: str) -> None:
    with pytest.raises(ConfigurationError, match="MCP_ALLOWED_USERS: the entry "):
        app(allowed)


@pytest.mark.parametrize(
    "allowed",
    ["*", " a@x.example ,\t@xn--bcher-kva.example,\nlogin:Octo_corp,583231\n", "auth0|5f7c,f:1:alice", "\u00fcnal"],
)
def test_a_good_list_may_have_white_space_around_its_entries(allowed: str) -> None:
    app(allowed)


def test_subjects_are_compared_exactly_whatever_their_letters() -> None:
    admission = Admission(["\u00fcnal", "\u212aim"])
    assert admission.check("\u00fcnal") == "\u00fcnal"
    for other in ("u\u0308nal", "\u00dcnal", "kim", "Kim", "\u212aIM"):
        with pytest.raises(SignInRefused):
            admission.check(other)


GOOGLE = ["@corp.com", "ann@corp.com", "Subject-7", "bob@gmail.com"]


@pytest.mark.parametrize(
    ("member_of", "email", "entry"),
    [
        ("corp.com", "alice@corp.com", "@corp.com"),
        ("CORP.com", "alice@CORP.com", "@corp.com"),
        ("", "alice@corp.com", ""),
        ("", "alice+left@corp.com", ""),
        ("other.com", "alice@corp.com", ""),
        ("corp.com", "alice@other.com", ""),
        ("corp.com.evil.com", "alice@corp.com", ""),
        ("corp.com ", "alice@corp.com", ""),
        ("corp\u00a0.com", "alice@corp.com", ""),
        ("@corp.com", "alice@corp.com", ""),
        ("*", "alice@corp.com", ""),
        ("", "ann@corp.com", "ann@corp.com"),
        ("", "bob@gmail.com", "bob@gmail.com"),
    ],
)
def test_where_a_provider_says_whose_an_account_is_a_domain_admits_its_members_alone(
    member_of: str, email: str, entry: str
) -> None:
    admission = Admission(GOOGLE)
    if entry:
        assert admission.check("1", emails=[email], member_of=member_of) == entry
        assert admission.still(entry, member_of=member_of)
        return
    with pytest.raises(SignInRefused) as refused:
        admission.check("1", emails=[email], member_of=member_of)
    assert ("does not belong to it" in refused.value.reason) is (email.endswith("@corp.com"))
    assert not admission.still("@corp.com", member_of=member_of) or member_of == "corp.com"
