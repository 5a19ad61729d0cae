"""What a person reads when a server starts: where it is, what it keeps, and how to connect a client."""

from __future__ import annotations

import json

from mcp_edge.hosts.exposure import is_loopback
from mcp_edge.protocol.revisions import HTTP_SSE
from mcp_edge.settings import Settings
from mcp_edge.text.masking import masked_url, short_name

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 # read, not bound
"""Where a client on this machine reaches what listens there; a request to the address itself would be refused."""


def base_url(settings: Settings, host: str, port: int) -> str:
    """The public URL, else the address as a client on this machine or network would write it."""
    if settings.public_url:
        return settings.public_url
    host = _EVERY_INTERFACE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def banner(app: str, settings: Settings, host: str, port: int) -> str:
    """The text printed before serving. No key or secret is in it."""
    base = base_url(settings, host, port)
    name = app.partition(":")[0].partition(".")[0].replace("_", "-")
    entry: dict[str, object] = {"type": "http", "url": f"{base}/mcp"}
    header = ""
    if settings.auth == "keys":
        entry["headers"] = {"Authorization": "Bearer YOUR_KEY"}
        header = ' --header "Authorization: Bearer YOUR_KEY"'
    who = {
        "none": "none: whoever reaches this address is one local user",
        "keys": "keys: " + ", ".join(map(short_name, settings.keys)),
        "oauth": f"oauth: this server authorizes clients, users sign in with {settings.identity}",
        "jwt": f"jwt: tokens of {masked_url(settings.jwt_issuer or '')}",
        "access": f"access: Cloudflare Access of {masked_url(settings.access_team_domain or '')}",
    }
    lines = [
        f"Serving {app}",
        f"  URL        {base}/mcp",
        f"  transport  streamable HTTP at /mcp, HTTP+SSE ({HTTP_SSE.version}) at /sse",
        f"  store      {masked_url(settings.store)}",
        f"  auth       {who[settings.auth]}",
        "Connect a client:",
        f"  claude mcp add --transport http {name} {base}/mcp{header}",
        f"  {json.dumps({'mcpServers': {name: entry}})}",
    ]
    if not is_loopback(host) and not settings.public_url and not settings.allowed_hosts:
        lines.append("Only loopback names are answered: set MCP_PUBLIC_URL or MCP_ALLOWED_HOSTS for others.")
    return "\n".join(lines)
