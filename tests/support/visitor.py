"""A browser without a screen, over an ASGI app in this process: cookies, redirects, and the forms of a page.

It sends what browsers send of themselves (Origin, Sec-Fetch-*), and knows no page of ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
from starlette.types import ASGIApp

MOST_REDIRECTS = 10
TEXT_ENDS = frozenset({"title", "p", "h1", "h2", "li", "dt", "dd", "div", "legend", "button", "label"})


@dataclass
class Form:
    """A form of a page, as it was served."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Inputs that are sent as they are: hidden ones and ticked boxes."""
    blanks: list[str] = field(default_factory=list[str])
    """Inputs to type into."""
    buttons: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Name, value and text."""

    def value(self, name: str) -> str:
        """The value of the one field of this name."""
        (found,) = [value for key, value in self.fields if key == name]
        return found


class _Reader(HTMLParser):
    def __init__(self, markup: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: Form | None = None
        self._button: list[str] | None = None
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "form":
            assert self._open is None, "a form inside a form"
            self._open = Form(given.get("action") or "", (given.get("method") or "get").upper())
            self.forms.append(self._open)
        elif tag in ("input", "button") and self._open is not None:
            name, value = given.get("name") or "", given.get("value") or ""
            kind = given.get("type") or ("text" if tag == "input" else "submit")
            if tag == "button" and given.get("aria-hidden") == "true":
                return  # nobody finds it to press it
            if tag == "button":
                self._button = [name, value, ""]
            elif kind == "hidden" or "checked" in given:
                self._open.fields.append((name, value))
            elif kind != "checkbox":
                self._open.blanks.append(name)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "button" and self._open is not None and self._button is not None:
            name, value, text = self._button
            self._open.buttons.append((name, value, text.strip()))
            self._button = None
        if tag in TEXT_ENDS:
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        self.words.append(data.replace("\n", " "))
        if self._button is not None:
            self._button[2] += data


@dataclass(frozen=True)
class Page:
    """Where the browser has arrived: a page, or (`left` is set) the address elsewhere that it was sent to."""

    url: str
    response: httpx.Response
    left: str = ""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def text(self) -> str:
        """What a reader sees."""
        lines = "".join(_Reader(self.response.text).words).split("\n")
        return "\n".join(" ".join(line.split()) for line in lines if line.strip())

    @property
    def forms(self) -> list[Form]:
        """Its forms."""
        return _Reader(self.response.text).forms

    @property
    def tags(self) -> list[tuple[str, dict[str, str | None]]]:
        """Every element that begins, with its attributes."""
        return _Reader(self.response.text).tags

    @property
    def heading(self) -> str:
        """The text of its first line."""
        body = self.text.split("\n")
        return body[1] if len(body) > 1 else body[0]  # the title comes first

    def button(self, text: str) -> tuple[Form, tuple[str, str, str]]:
        """The button with this text, and its form.

        Raises:
            LookupError: there is none.
        """
        for form in self.forms:
            for button in form.buttons:
                if button[2] == text:
                    return form, button
        raise LookupError(f"no button {text!r} on:\n{self.status} {self.text}")

    @property
    def answer(self) -> dict[str, str]:
        """The parameters with which the browser was sent elsewhere, each of them once."""
        assert self.left, f"still here: {self.status} {self.text}"
        found = parse_qs(urlsplit(self.left).query, keep_blank_values=True, strict_parsing=True)
        assert all(len(values) == 1 for values in found.values()), found
        return {name: values[0] for name, values in found.items()}


class Visitor:
    """One browser profile."""

    def __init__(
        self,
        app: ASGIApp | httpx.AsyncBaseTransport,
        base_url: str,
        *,
        address: str = "127.0.0.1",
        looks: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`app` may be the way to a server elsewhere; then `address` is not ours to say. A person `looks` at a page
        before sending its form."""
        self.looks = looks
        parts = urlsplit(base_url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        elsewhere = isinstance(app, httpx.AsyncBaseTransport)
        transport = app if elsewhere else httpx.ASGITransport(app, client=(address, 50000))
        self.client = httpx.AsyncClient(transport=transport, base_url=base_url, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def visit(self, url: str, *, site: str = "none", **params: str) -> Page:
        """Navigate. `site` is what Sec-Fetch-Site says: `none` for an address typed or a link from another program."""
        target = urljoin(self.origin, url)
        if params:
            target += ("&" if "?" in target else "?") + urlencode(params)
        return await self._arrive(await self.client.get(target, headers=self._navigation(site)), site)

    async def press(
        self, page: Page, text: str, *, type_in: dict[str, str] | None = None, untick: tuple[str, ...] = ()
    ) -> Page:
        """Press the button with this text, with `type_in` in the blanks and the boxes of these values unticked."""
        form, (name, value, _) = page.button(text)
        assert set(type_in or {}) == set(form.blanks), (form, type_in)
        fields = [(key, given) for key, given in form.fields if not (key != "flow" and given in untick)]
        fields += list((type_in or {}).items())
        if name:
            fields.append((name, value))
        return await self.post(urljoin(page.url, form.action), fields)

    async def post(
        self,
        url: str,
        fields: list[tuple[str, str]],
        *,
        origin: str | None = "",
        site: str | None = "same-origin",
        cookies: bool = True,
        headers: dict[str, str] | None = None,
    ) -> Page:
        """Send a form, from our own page or, with another `origin` and `site`, as another one would; None leaves a
        header away. Without `cookies` it is what SameSite=Lax makes of a form from elsewhere."""
        if self.looks is not None:
            await self.looks()
        target = urljoin(self.origin, url)
        told: dict[str, Any] = {**self._navigation(site), "content-type": "application/x-www-form-urlencoded"}
        if origin is not None:
            told["origin"] = origin or self.origin
        request = self.client.build_request(
            "POST", target, content=urlencode(fields).encode(), headers=told | (headers or {})
        )
        if not cookies:
            request.headers.pop("cookie", None)
        return await self._arrive(await self.client.send(request), "same-origin")

    def cookie(self, name: str) -> str:
        """The value of the cookie whose name starts like this."""
        (found,) = [cookie.value for cookie in self.client.cookies.jar if cookie.name.startswith(name)]
        return found or ""

    async def _arrive(self, response: httpx.Response, site: str) -> Page:
        for _ in range(MOST_REDIRECTS):
            if not response.is_redirect:
                return Page(str(response.request.url), response)
            target = urljoin(str(response.request.url), response.headers["location"])
            parts = urlsplit(target)
            if f"{parts.scheme}://{parts.netloc}" != self.origin:
                return Page(str(response.request.url), response, left=target)
            response = await self.client.get(target, headers=self._navigation(site))
        raise AssertionError("redirects without end")

    @staticmethod
    def _navigation(site: str | None) -> dict[str, str]:
        common = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-user": "?1"}
        return common if site is None else {**common, "sec-fetch-site": site}
