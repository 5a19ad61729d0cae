"""The two kinds of identity provider: one that the browser is sent to, and one that asks on a page of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mcp_edge.errors import Forbidden
from mcp_edge.user import User


@dataclass(frozen=True, slots=True)
class TokenSet:
    """Tokens of an upstream. Times are epoch seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float | None = None
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """The URL to which the browser goes, and the secrets to keep until it is back. The caller seals them."""

    url: str
    secrets: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user who signed in, and the provider's tokens for what tools do upstream."""

    user: User
    tokens: TokenSet | None = None


class SignInRefused(Forbidden):
    """The user cannot be let in. `message` is for the user, `reason` for the log."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


@runtime_checkable
class RedirectProvider(Protocol):
    """Signs users in on its own site (OIDC, OAuth)."""

    @property
    def issuer(self) -> str:
        """The URL that names the provider, and no other; `User.issuer` of its users."""
        ...

    @property
    def label(self) -> str:
        """Its name on our pages."""
        ...

    async def depart(self, *, state: str, callback: str) -> Departure:
        """Begin a sign-in. `state` and `callback` go into the URL.

        Raises:
            UpstreamError: the provider cannot be reached.
        """
        ...

    async def arrive(self, query: Mapping[str, str], secrets: Mapping[str, str], *, callback: str) -> Identity:
        """Finish with what the provider sent the browser back with.

        Raises:
            SignInRefused: denied, expired, forged, or not on the list of users.
            UpstreamError: the provider cannot be reached.
        """
        ...

    def admits(self, user: User) -> bool:
        """Whether what let this user in (`User.admitted`) is still there: asked when a sign-in or a grant is used."""
        ...

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens.

        Raises:
            SignInRefused: the provider does not accept the refresh token any more.
            UpstreamError: the provider cannot be reached.
        """
        ...


@runtime_checkable
class FormProvider(Protocol):
    """Asks for one value on our own page: a name (`dev`), an access key (`keys`)."""

    @property
    def label(self) -> str:
        """What the field is called."""
        ...

    @property
    def secret(self) -> bool:
        """Whether the field hides what is typed."""
        ...

    async def check(self, value: str) -> User:
        """The user whom `value` names.

        Raises:
            SignInRefused: it names nobody.
        """
        ...

    def admits(self, user: User) -> bool:
        """Whether what let this user in (`User.admitted`) is still there: asked when a sign-in or a grant is used."""
        ...


Provider = RedirectProvider | FormProvider
