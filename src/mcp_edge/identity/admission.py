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

    @property
    def by_login(self) -> bool:
        """Whether an entry names a login."""
        return bool(self._logins)

    def needs_email(self, subject: str, login: str = "") -> bool:
        """Whether it takes an address to decide."""
        return bool(self._domains or self._addresses) and not self._admits(subject, login, ())

    def check(self, subject: str, *, login: str = "", emails: Collection[str] = ()) -> None:
        """Let the user in. `emails` are verified ones.

        Raises:
            Refused
        """
        if not self._admits(subject, login, emails):
            raise Refused("Your account may not use this server. Ask its operator to admit you.", "not in the list")

    @property
    def asks_for_email(self) -> bool:
        """Whether addresses may be needed at all."""
        return bool(self._domains or self._addresses) and not self._everybody

    def _admits(self, subject: str, login: str, emails: Collection[str]) -> bool:
        if self._everybody or subject in self._subjects or (login and login.lower() in self._logins):
            return True
        return any(
            email.lower() in self._addresses or email.lower().rpartition("@")[2] in self._domains for email in emails
        )
