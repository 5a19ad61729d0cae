"""Who a caller is. It knows no credential."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class User:
    """Who is calling. `issuer`, `tenant` and `subject` together are the identity; `name` is for display only."""

    issuer: str
    subject: str
    tenant: str = ""
    name: str = ""
    scopes: frozenset[str] | None = None
    """What the credential allows, with what that implies; None where nothing is restricted."""
    client: str = ""
    """The OAuth client that acts for the user; empty where there is none."""
    grant: str = ""
    """The id of the grant that the credential belongs to; empty where there is none."""
    admitted: str = field(default="", repr=False, compare=False)
    """What in the settings let the user in at the sign-in, so that it can be seen when that is gone."""

    @property
    def principal(self) -> str:
        """The identity as one text, under which everything of the user is stored."""
        return f"{self.issuer}|{self.tenant}|{self.subject}"
