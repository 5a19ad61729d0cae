"""The browser at our pages: the cookies that bind it, who is signed in there, and whether a form is truly ours."""

from __future__ import annotations

from mcp_edge.context import User
from mcp_edge.keyring import KeyRing
from mcp_edge.platform import Platform
from mcp_edge.request import Request
from mcp_edge.urls import Urls


class Browsers:
    """See the module."""

    def __init__(self, platform: Platform, ring: KeyRing, urls: Urls) -> None:
        self._platform = platform
        self._ring = ring
        self._urls = urls

    def binding(self, request: Request) -> str:
        """The hash of this browser's binding cookie, which the answer sets if the browser has none."""
        raise NotImplementedError

    async def user(self, request: Request) -> User | None:
        """Who is signed in."""
        raise NotImplementedError

    async def sign_in(self, request: Request, user: User) -> None:
        """Remember the user in this browser, under a new cookie."""
        raise NotImplementedError

    async def sign_out(self, request: Request) -> None:
        """Forget the user in this browser."""
        raise NotImplementedError

    async def sign_out_everywhere(self, principal: str) -> None:
        """Forget the user in every browser."""
        raise NotImplementedError

    def check_form(self, request: Request) -> None:
        """Refuse a POST that did not come from a page of ours (Origin, Sec-Fetch-Site, content type).

        Raises:
            Forbidden, UnsupportedMedia
        """
        raise NotImplementedError
