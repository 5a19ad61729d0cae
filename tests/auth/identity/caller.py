"""A server whose tool calls the provider's API as its user, and a client that calls the tool on either revision."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from mcp.server.mcpserver import Elicit, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

import mcp_edge
from mcp_edge.app import create_app
from mcp_edge.errors import UpstreamError
from mcp_edge.settings import Settings
from tests.auth.identity.provider import Provider
from tests.auth.server.deployment import Deploy, Deployment, deploy

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
URLS: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}


class Colour(BaseModel):
    """A form of one field."""

    colour: str


def _which() -> Elicit[Colour]:
    return Elicit("Which colour?", Colour)


def create_server(settings: Settings) -> MCPServer[Any]:
    """Tools that need the user's account."""
    del settings
    server = MCPServer(name="accounts-test")

    async def account() -> str:
        try:
            response = await mcp_edge.upstream().get("/api/whoami")
        except UpstreamError as e:
            raise ToolError(str(e)) from e
        if response.status_code != 200:
            raise ToolError(f"status {response.status_code}")
        return response.json()["account"]

    @server.tool()
    async def whoami_there() -> str:
        """The name of the user's account."""
        return await account()

    @server.tool()
    async def paint(
        colour: Annotated[Colour, Resolve(_which)], ready: Annotated[bool, Resolve(mcp_edge.connected)]
    ) -> str:
        """Needs an answer and an account."""
        return f"{await account()} {colour.colour} {ready}"

    @server.resource("there://account")
    async def account_there() -> str:
        """The same as a resource."""
        return await account()

    del whoami_there, paint, account_there
    return server


def at(provider: Provider, http: httpx.AsyncClient, on: Deploy = deploy, **settings: Any) -> Deployment:
    """A server, made by `on`, whose tools call the provider's API, at the time that it is there."""
    told: dict[str, Any] = {"upstream_url": provider.issuer, **settings}
    site = on(http=lambda: http, **told)
    site.clock.now = time.time()
    return Deployment(create_app(create_server, site.platform), site.platform, site.clock)


@dataclass
class Caller:
    """An MCP client with an access token."""

    site: Deployment
    token: str
    version: str = MODERN
    capabilities: dict[str, Any] = field(default_factory=lambda: URLS)
    session: str = ""

    async def call(self, tool: str = "whoami_there", **more: Any) -> httpx.Response:
        """Call a tool; `more` are further members of the params."""
        return await self.request("tools/call", {"name": tool, "arguments": {}, **more}, name=tool)

    async def request(self, method: str, params: dict[str, Any], *, name: str) -> httpx.Response:
        """Send one request."""
        if self.version == MODERN:
            told = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            }
            headers = {"mcp-method": method, "mcp-name": name}
            return await self._post(method, {**params, "_meta": told}, headers)
        if not self.session:
            opening = {
                "protocolVersion": self.version,
                "capabilities": self.capabilities,
                "clientInfo": {"name": "tests", "version": "1"},
            }
            opened = await self._post("initialize", opening, {})
            self.session = opened.headers["mcp-session-id"]
        return await self._post(method, params, {"mcp-session-id": self.session})

    async def _post(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        fields = {
            "authorization": f"Bearer {self.token}",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": self.version,
            **headers,
        }
        async with self.site.client() as client:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return await client.post("/mcp", json=message, headers=fields, timeout=30)


def message(response: httpx.Response) -> dict[str, Any]:
    """The JSON-RPC response, also when it came as the last event of a stream."""
    if response.headers["content-type"] == "application/json":
        return response.json()
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return json.loads(data[-1])


def said(response: httpx.Response) -> tuple[bool, str]:
    """Whether a tool failed, and its text."""
    result = message(response)["result"]
    return result.get("isError") is True, result["content"][0]["text"]
