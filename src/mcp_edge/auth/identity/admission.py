"""Who may sign in through a provider (`MCP_ALLOWED_USERS`). Pure.

An entry is `*` (everybody), an e-mail address, `@domain` (exactly that domain), `login:NAME` where the provider has
login names, or a subject: the user's unchanging id at the provider. An address counts only if the provider says that
it has verified it. Whom an entry lets in is still known by the subject alone: an address or a login name may pass to
somebody else, who is then let in by the same entry, as a different user.

Subjects are compared exactly, all else without regard to the case of ASCII letters. Other letters have none here: an
address, domain or login that is not ASCII lets nobody in, because one letter may look or be folded like another.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mcp_edge.auth.identity.provider import SignInRefused
from mcp_edge.errors import ConfigurationError
from mcp_edge.text.ascii import lowered

EVERYBODY = "*"
LOGIN = "login:"

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"@{_LABEL}(?:\.{_LABEL})*")
_ADDRESS = re.compile(rf"[!-?A-~]{{1,255}}{_DOMAIN.pattern}")
"""Any ASCII before one `@`; who has an address is for its provider to say."""
_LOGIN = re.compile(rf"{LOGIN}[a-z0-9_-]{{1,100}}")
_MAX_SUBJECT = 255


class Admission:
    """The users whom the operator admits, as one list in the settings names them."""

    def __init__(self, entries: Sequence[str]) -> None:
        """`entries` are those of the setting, in any order.

        Raises:
            ConfigurationError: an entry names nobody.
        """
        known = frozenset(map(_read, entries))
        self._everybody = EVERYBODY in known
        self._logins = frozenset(entry for entry in known if entry.startswith(LOGIN))
        self._domains = frozenset(entry for entry in known if entry.startswith("@"))
        self._addresses = frozenset(entry for entry in known if "@" in entry[1:])
        self._subjects = known - self._logins - self._domains - self._addresses - {EVERYBODY}
        self._standing = known - {EVERYBODY}
        """All that `check` may answer but for `EVERYBODY`."""

    @property
    def by_login(self) -> bool:
        """Whether an entry names a login."""
        return bool(self._logins)

    def needs_email(self, subject: str, login: str = "") -> bool:
        """Whether an e-mail address is needed to decide about this user."""
        return bool(self._domains or self._addresses) and not self._admits(subject, login, (), None)

    def check(
        self, subject: str, *, login: str = "", emails: Collection[str] = (), member_of: str | None = None
    ) -> str:
        """The entry that lets the user in, as it is written but for its case.

        `emails` are verified ones. `member_of` is the domain that the provider says the account itself belongs to, and
        empty for none: no entry for another domain lets it in. None where the provider does not tell accounts apart.

        Raises:
            SignInRefused: no entry lets the user in.
        """
        admitted = self._admits(subject, login, emails, member_of)
        if not admitted:
            reason = "not in the list"
            if not all(text.isascii() for text in (login, *emails)):
                reason += "; an address or a login that is not ASCII does not count"
            elif member_of is not None and self._admits(subject, login, emails, None):
                reason += "; its address is of a domain that is, but the account does not belong to it"
            raise SignInRefused("Your account may not use this server. Ask its operator to admit you.", reason)
        return admitted

    def still(self, entry: str, *, member_of: str | None = None) -> bool:
        """Whether `entry`, an answer of `check`, still lets its user in, or an entry for everybody does. It is asked at
        every call, so it costs no I/O."""
        return self._everybody or (entry in self._standing and _fits(entry, member_of))

    @property
    def asks_for_email(self) -> bool:
        """Whether any user's admission may need an e-mail address."""
        return bool(self._domains or self._addresses) and not self._everybody

    def _admits(self, subject: str, login: str, emails: Collection[str], member_of: str | None) -> str:
        """The entry; empty when there is none."""
        if self._everybody:
            return EVERYBODY
        if subject in self._subjects:
            return subject
        if login and LOGIN + lowered(login) in self._logins:
            return LOGIN + lowered(login)
        for email in map(lowered, emails):
            if not _ADDRESS.fullmatch(email):
                continue
            if email in self._addresses:
                return email
            domain = "@" + email.partition("@")[2]
            if domain in self._domains and _fits(domain, member_of):
                return domain
        return ""


def _fits(entry: str, member_of: str | None) -> bool:
    """Whether the entry, if it is for a domain, may let in an account that belongs to `member_of`."""
    return member_of is None or not entry.startswith("@") or entry == "@" + lowered(member_of)


def _read(entry: str) -> str:
    """An entry in its one spelling.

    Raises:
        ConfigurationError: it is none.
    """
    small = lowered(entry)
    if small.startswith(LOGIN):
        fit = entry.startswith(LOGIN) and _LOGIN.fullmatch(small)
        problem = "a login is written `login:NAME`, and has letters, digits, hyphens and underscores"
    elif "@" in entry:
        fit = "*" not in entry and (_DOMAIN.fullmatch(small) or _ADDRESS.fullmatch(small))
        problem = "it is neither an address nor `@domain`"
        if not entry.isascii():
            problem = (
                "write a domain in ASCII, as `xn--…`; name somebody whose address has other letters by the subject"
            )
    else:
        small = entry
        fit = entry == EVERYBODY or (
            0 < len(entry) <= _MAX_SUBJECT and entry.isprintable() and not set(entry) & set(" *")
        )
        problem = (
            "a subject has 1 to 255 visible characters, no space and no `*` among them" if entry else "it is empty"
        )
    if not fit:
        raise ConfigurationError(f"MCP_ALLOWED_USERS: the entry {entry!r} would let nobody in: {problem}.")
    return small
