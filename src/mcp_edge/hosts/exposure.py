"""How a server may be exposed: who may reach it, and which secrets sign for it. It opens no socket and no store."""

from __future__ import annotations

import secrets
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from mcp_edge.errors import ConfigurationError
from mcp_edge.settings import Settings
from mcp_edge.storage.own_files import kept_secret
from mcp_edge.text.ascii import lowered
from mcp_edge.text.masking import masked_url

MIN_SECRET_BYTES = 32
_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "default",
    "example",
    "insecure",
    "password",
    "placeholder",
    "replace",
    "secret",
    "your-",
    "your_",
)
PROXY_HEADERS = frozenset(
    [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
        "cf-connecting-ip",
        "true-client-ip",
    ]
)
"""What proxies add to a request that they pass on (RFC 7239; RFC 9110 §7.6.3), and tunnels, unasked."""
_SHORT = f"is shorter than {MIN_SECRET_BYTES} bytes"
_ADVICE = "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to `host`, or asked for under that name."""
    host = host.lower()
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def exposed_names(settings: Settings) -> list[str]:
    """Where others than this machine may reach the server, by its settings: the public URL, each allowed host, and
    behind the proxy whose header is read."""
    hosts = [_host(entry) for entry in settings.allowed_hosts]
    public = settings.public_url
    own = [public] if public and not is_loopback(urlsplit(public).hostname or "") else []
    header = settings.client_address_header or ""
    behind = [f"the proxy that sends {header}"] if lowered(header) in PROXY_HEADERS else []
    return own + [host for host in hosts if not is_loopback(host)] + behind


def _host(authority: str) -> str:
    """The host of `mcp.example.com:8443` or `[::1]`; what is no authority is a host that nobody knows."""
    try:
        return urlsplit(f"//{authority}").hostname or authority
    except ValueError:
        return authority


def refuse_unsafe(settings: Settings, host: str, *, insecure: bool) -> None:
    """Let nothing be served that strangers could use or forge.

    A tunnel or a proxy on this machine may be in front of what listens on loopback, so each name that is answered
    counts as the address that is listened on does.

    Raises:
        ConfigurationError: no authentication or no good secret outside loopback, or a way of signing in that cannot
            work or is made for loopback.
    """
    by_keys = settings.auth == "keys" or (settings.auth == "oauth" and settings.identity == "keys")
    if by_keys and not settings.keys:
        raise ConfigurationError("This needs at least one key in MCP_KEYS. Make one: mcp-edge keys create NAME")
    refuse_short(settings)
    bound_here, names = is_loopback(host), exposed_names(settings)
    if settings.auth == "none" and not insecure:
        _refuse_open(settings, names[:1] if bound_here else [host])
    if names or not bound_here:
        _refuse_exposed(settings, names, bound_here=bound_here, insecure=insecure)


def refuse_short(settings: Settings) -> None:
    """Refuse secrets that could not sign anywhere, on loopback or over stdio.

    Raises:
        ConfigurationError
    """
    for position, secret in enumerate(settings.secret_keys, 1):
        if len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise _weak(position, _SHORT)


def _weak(position: int, fault: str) -> ConfigurationError:
    return ConfigurationError(f"Secret {position} of MCP_SECRET_KEYS {fault}, so sessions could be forged. {_ADVICE}")


def _refuse_open(settings: Settings, exposed: list[str]) -> None:
    """Refuse a server without credentials that others than this machine, or their web pages, could use."""
    instead = (
        "Use --auth keys (mcp-edge keys create NAME makes one), {}, or pass --insecure if something in front of this "
        "server decides who may call."
    )
    if exposed:
        raise ConfigurationError(
            f"--auth none would let everybody who can reach {exposed[0]} use this server and its data. "
            + instead.format("serve 127.0.0.1 alone")
        )
    if foreign := [origin for origin in settings.allowed_origins if not _is_local(origin)]:
        pages = "every web page" if foreign[0] == "*" else f"the web pages of {masked_url(foreign[0])}"
        raise ConfigurationError(
            f"--auth none would let {pages} use this server and its data, because MCP_ALLOWED_ORIGINS admits them. "
            + instead.format("admit loopback origins alone")
        )


def _is_local(origin: str) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme.lower() in ("http", "https") and is_loopback(_host(authority))


def _refuse_exposed(settings: Settings, names: list[str], *, bound_here: bool, insecure: bool) -> None:
    """Refuse what is good enough for this machine alone."""
    if settings.auth == "oauth" and settings.identity == "dev":
        raise ConfigurationError(
            "MCP_IDENTITY=dev lets everybody be whom they like, so it serves loopback only. Set MCP_IDENTITY to "
            "github, sentry, oidc or keys."
        )
    if urlsplit(settings.public_url or "").scheme == "http":
        _refuse_readable(settings, names, insecure=insecure)
    if not settings.secret_keys and not bound_here:
        raise ConfigurationError(
            f"Outside loopback MCP_SECRET_KEYS is required, the same for every instance. {_ADVICE}"
        )
    for position, secret in enumerate(settings.secret_keys, 1):
        fault = weakness(secret.get_secret_value())
        if fault:
            raise _weak(position, fault)


def _refuse_readable(settings: Settings, names: list[str], *, insecure: bool) -> None:
    """Refuse credentials that anybody on their way could read (RFC 6750 §5.3, MCP authorization)."""
    instead = "Put TLS in front of the server and set MCP_PUBLIC_URL to its https URL"
    if names and settings.auth not in ("none", "keys"):
        raise ConfigurationError(
            f"{settings.public_url} is not https, which OAuth asks for: every token could be read on its way. "
            f"{instead}."
        )
    if settings.public_url in names and settings.auth == "keys" and not insecure:
        raise ConfigurationError(
            f"{settings.public_url} is not https: every key could be read on its way. {instead}, or pass --insecure "
            "where the network itself is trusted."
        )


def weakness(secret: str) -> str:
    """Why `secret` must not sign for a public server, as the end of a sentence about it; empty if it may."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return _SHORT
    small = secret.lower()
    if any(word in small for word in _PLACEHOLDERS):
        return "is a placeholder"
    steps = [ord(b) - ord(a) for a, b in pairwise(secret)]
    in_sequence = max(steps.count(-1), steps.count(0), steps.count(1)) > len(steps) / 2
    if in_sequence or len(set(secret)) < 8 or secret in (secret + secret)[1:-1]:
        return "repeats itself"
    return ""


def with_secret(settings: Settings) -> Settings:
    """`settings` with a secret: the configured ones, else the one beside the SQLite file, else a random one.

    Raises:
        ConfigurationError: the file cannot be written, holds something else, or others may read or change it.
    """
    if settings.secret_keys:
        return settings
    scheme, _, path = settings.store.partition(":")
    secret = _beside(Path(path).expanduser()) if scheme == "sqlite" and path else secrets.token_urlsafe(32)
    return settings.model_copy(update={"secret_keys": (SecretStr(secret),)})


def _beside(database: Path) -> str:
    """The secret in `FILE.secret`, made if absent."""
    file = database.with_name(database.name + ".secret")
    try:
        secret = kept_secret(file, lambda: secrets.token_urlsafe(32), "Or set MCP_SECRET_KEYS.")
    except OSError as e:
        raise ConfigurationError(f"The secret {file} cannot be read or made: {e.strerror}. Set MCP_SECRET_KEYS.") from e
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"{file} holds less than {MIN_SECRET_BYTES} bytes: remove it or set MCP_SECRET_KEYS.")
    return secret
