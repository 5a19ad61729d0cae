"""`organizations`: calls an HTTP API with the caller's own credential, and says plainly what went wrong there."""

from email.utils import parsedate_to_datetime
from typing import Annotated

import httpx
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

import mcp_edge
from mcp_edge.errors import UpstreamError

PAGE_SIZE = 100
MAX_PAGES = 5


class Organization(BaseModel):
    """One organization: the fields we rely on, of the many that the API sends."""

    model_config = ConfigDict(extra="ignore")

    id: int
    login: str = Field(description="Its short name, as in its URL.")
    description: str | None = None


class Organizations(BaseModel):
    """The organizations of the user."""

    organizations: list[Organization]
    complete: bool = Field(description="False when there are more than are listed here.")


_PAGE = TypeAdapter(list[Organization])


async def organizations(
    limit: Annotated[int, Field(description="At most so many.", ge=1, le=PAGE_SIZE * MAX_PAGES)] = PAGE_SIZE,
) -> Organizations:
    """List the organizations that you are a member of."""
    found: list[Organization] = []
    try:
        api = mcp_edge.upstream()
        path: str | None = f"/user/orgs?per_page={min(limit, PAGE_SIZE)}"
        for _ in range(MAX_PAGES):
            response = await api.get(path)
            _check(response)
            found += _parse(response.content)
            path = _next_path(response, api.base_url)
            if path is None or len(found) >= limit:
                break
    except UpstreamError as e:
        raise ToolError(str(e)) from e
    return Organizations(organizations=found[:limit], complete=path is None and len(found) <= limit)


def _check(response: httpx.Response) -> None:
    """Turn every status but 200 into a sentence that says what to do. The body is not quoted: it is not ours."""
    match response.status_code:
        case 200:
            return
        case 401:
            raise UpstreamError("The upstream API refused the credential: it is wrong or has expired. Connect again.")
        case 403 | 429 if (wait := _wait(response)) or response.status_code == 429:
            raise UpstreamError(f"The upstream API allows no more calls for now. {wait or 'Try again later.'}")
        case 403:
            raise UpstreamError("The upstream API forbids this: the credential lacks the right to list organizations.")
        case status if status >= 500:
            raise UpstreamError(f"The upstream API has a problem of its own (status {status}). Try again later.")
        case status:
            raise UpstreamError(f"The upstream API gave an unexpected answer (status {status}).")


def _wait(response: httpx.Response) -> str:
    """`Retry-After` as a sentence; empty if there is none that can be read (RFC 9110 §10.2.3: seconds or a date)."""
    value = response.headers.get("retry-after", "")
    if value.isascii() and value.isdigit() and len(value) < 8:
        return f"Try again in {int(value)} seconds."
    try:
        return f"Try again after {parsedate_to_datetime(value):%Y-%m-%d %H:%M:%S} UTC."
    except ValueError:
        return ""


def _parse(body: bytes) -> list[Organization]:
    try:
        return _PAGE.validate_json(body)
    except ValidationError as e:
        malformed = any(error["type"] == "json_invalid" for error in e.errors(include_input=False))
        what = "is not JSON" if malformed else "does not have the expected form"
        raise UpstreamError(f"The upstream API's answer {what}.") from e


def _next_path(response: httpx.Response, base_url: str) -> str | None:
    """The next page, from the `Link` header (RFC 8288). Another host is refused: it would be sent the credential."""
    url = response.links.get("next", {}).get("url")
    if url is None:
        return None
    if not url.startswith(f"{base_url}/"):
        raise UpstreamError("The upstream API's next page is on another host; it was not followed.")
    return url.removeprefix(base_url)


def register(server: MCPServer) -> None:
    """Offer the tool."""
    server.add_tool(
        organizations,
        title="List organizations",
        meta=mcp_edge.requires("organizations:read"),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=True),
    )
