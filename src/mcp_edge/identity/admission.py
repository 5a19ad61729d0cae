"""Who may sign in through a provider (`MCP_ALLOWED_USERS`). Pure.

An entry is `*` (everybody), an e-mail address, `@domain` (exactly that domain), `login:NAME` where the provider has
login names, or a subject: the user's unchanging id at the provider. An address counts only if the provider says that
it has verified it. Whom an entry lets in is still known by the subject alone: an address or a login name may pass to
somebody else, who is then let in by the same entry, as a different user.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mcp_edge.identity.provider import Refused

EVERYBODY = "*"
LOGIN = "login:"


class Admission:
    """One list of users."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._everybody = EVERYBODY in entries
        self._logins = {entry.removeprefix(LOGIN).lower() for entry in entries if entry.startswith(LOGIN)}
        self._domains = {entry[1:].lower() for entry in entries if entry.startswith("@")}
        self._addresses = {entry.lower() for entry in entries if "@" in entry[1:]}
        self._subjects = {e for e in entries if "@" not in e and not e.startswith(LOGIN) and e != EVERYBODY}
        logins, domains = (LOGIN + name for name in self._logins), ("@" + name for name in self._domains)
        self._standing = frozenset((*logins, *domains, *self._addresses, *self._subjects))
        """All that `check` may answer but for `EVERYBODY`."""

    @property
    def by_login(self) -> bool:
        """Whether an entry names a login."""
        return bool(self._logins)

    def needs_email(self, subject: str, login: str = "") -> bool:
        """Whether it takes an address to decide."""
        return bool(self._domains or self._addresses) and not self._admits(subject, login, ())

    def check(self, subject: str, *, login: str = "", emails: Collection[str] = ()) -> str:
        """The entry that lets the user in. `emails` are verified ones.

        Raises:
            Refused
        """
        admitted = self._admits(subject, login, emails)
        if not admitted:
            raise Refused("Your account may not use this server. Ask its operator to admit you.", "not in the list")
        return admitted

    def still(self, entry: str) -> bool:
        """Whether whom this entry, an answer of `check`, has let in would still be let in by it, or by one for
        everybody. It is asked at every call."""
        return self._everybody or entry in self._standing

    @property
    def asks_for_email(self) -> bool:
        """Whether addresses may be needed at all."""
        return bool(self._domains or self._addresses) and not self._everybody

    def _admits(self, subject: str, login: str, emails: Collection[str]) -> str:
        """The entry, as it is written but for its case; empty when there is none."""
        if self._everybody:
            return EVERYBODY
        if subject in self._subjects:
            return subject
        if login and login.lower() in self._logins:
            return LOGIN + login.lower()
        for email in map(str.lower, emails):
            if email in self._addresses:
                return email
            name, _, domain = email.rpartition("@")
            if name and domain in self._domains:
                return f"@{domain}"
        return ""
