"""Every option, described once. Read from a mapping (the environment, a Worker's `env`), never from `os` itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator

from mcp_edge.errors import ConfigurationError
from mcp_edge.text.ascii import lowered
from mcp_edge.text.hidden_values import HiddenValues
from mcp_edge.text.option_values import (
    Documents,
    FieldName,
    HostNames,
    Keys,
    Schemes,
    SecretPairs,
    Secrets,
    Users,
    Ways,
    Words,
)  # fmt: skip

PREFIX = "MCP_"
_Model = TypeVar("_Model", bound=BaseModel)


class Settings(BaseModel):
    """The options of one server. `Settings.from_env` reads `MCP_<NAME>`; `mcp-edge settings` prints this table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public_url: str | None = Field(
        default=None,
        description="The URL that clients use, without the path /mcp; never taken from a request's headers.",
    )
    store: str = Field(
        default="sqlite:.data/mcp.db", description="Where state lives: `sqlite:PATH`, `dynamodb:TABLE` or `memory:`."
    )
    auth: Literal["none", "keys", "oauth", "jwt", "access"] = Field(
        default="none",
        description="Who may call: `none` (loopback only), `keys` (static bearer keys), `oauth` (this server "
        "authorizes clients itself), `jwt` (another authorization server does) or `access` (Cloudflare Access does).",
    )
    keys: Keys = Field(
        default_factory=dict[str, str],
        description="With `auth=keys`, and with `auth=oauth` beside tokens: access keys as `user:sha256`, or "
        "`user:sha256:scope scope`; `mcp-edge keys create` makes one.",
    )
    secret_keys: Secrets = Field(
        default=(),
        description="Secrets of at least 32 bytes that sign and seal, newest first; the same on every instance.",
    )
    identity: Literal["dev", "keys", "github", "sentry", "oidc"] = Field(
        default="dev",
        description="With `auth=oauth`, who says who the user is: `dev` (loopback only: pick a name), `keys` (the "
        "user's access key), `github`, `sentry`, or `oidc` (any OpenID Connect provider).",
    )
    identity_issuer: str | None = Field(
        default=None,
        description="Issuer URL of the identity provider (`oidc`), or its base URL where it is self-hosted.",
    )
    identity_client_id: str | None = Field(
        default=None, description="This server's client id at the identity provider."
    )
    identity_client_secret: SecretStr | None = Field(
        default=None, description="This server's client secret at the identity provider; none for a public client."
    )
    identity_scopes: Words = Field(
        default=(), description="Scopes asked of the identity provider besides those that a sign-in needs."
    )
    allowed_users: Users = Field(
        default=(),
        description="Who may sign in through a provider: verified e-mail addresses, `@domain` of one (at Google: of an "
        "account that the domain manages), subjects, `login:NAME` on GitHub, or `*` for everybody.",
    )
    clients: Documents = Field(
        default=(),
        description="OAuth clients known beforehand: a JSON list of RFC 7591 documents with `client_id`, "
        "`redirect_uris` and, if confidential, `client_secret_sha256`; with `scope`, they may ask for no more.",
    )
    registration: Ways = Field(
        default=("cimd", "dcr"),
        description="How unknown OAuth clients make themselves known: `cimd` (a document at their URL) and `dcr` "
        "(RFC 7591); `none`: not at all.",
    )
    redirect_schemes: Schemes = Field(
        default=(),
        description="Private-use URI schemes of native apps (RFC 8252 §7.1) to admit besides https and loopback, such "
        "as `cursor`.",
    )
    code_ttl_s: int = Field(default=60, ge=1, le=600, description="Life of an authorization code in seconds.")
    access_token_ttl_s: int = Field(default=3600, ge=60, description="Life of an access token in seconds.")
    refresh_token_ttl_s: int = Field(
        default=30 * 86400, ge=60, description="Life of an unused refresh token in seconds; each use starts it anew."
    )
    refresh_grace_s: int = Field(
        default=45, ge=0, le=300, description="Seconds for which a used refresh token gets the same answer once more."
    )
    sign_in_ttl_s: int = Field(default=8 * 3600, ge=60, description="Seconds for which a browser stays signed in.")
    client_address_header: FieldName | None = Field(
        default=None,
        description="Header in which a trusted proxy states the client's address (`CF-Connecting-IP` behind a tunnel).",
    )
    jwt_issuer: str | None = Field(
        default=None, description="With `auth=jwt`: the authorization server's issuer URL, as its tokens name it."
    )
    jwt_audience: Words = Field(
        default=(), description="With `auth=jwt`: audiences to accept instead of the URL of the MCP endpoint."
    )
    jwt_jwks_url: str | None = Field(
        default=None, description="With `auth=jwt`: where its keys are, if its metadata does not say so."
    )
    jwt_clients: Words = Field(
        default=(),
        description="With `auth=jwt`: clients (`client_id`, `azp` or `appid`) whose own tokens, with no user behind "
        "them, are accepted without a scope of this server or a role; `*`: all.",
    )
    access_team_domain: str | None = Field(
        default=None, description="With `auth=access`: the team's domain, `TEAM.cloudflareaccess.com`."
    )
    access_audience: Words = Field(default=(), description="With `auth=access`: the application's AUD tags.")
    certificate_header: FieldName | None = Field(
        default=None,
        description="With `auth=access`, instead of Cloudflare's assertion: the header in which a proxy of yours names "
        "the client certificate that it has verified.",
    )
    proxy_secret: SecretStr | None = Field(
        default=None,
        description="With `certificate_header`: what that proxy sends as `X-Proxy-Secret`, at least 32 bytes.",
    )
    allowed_hosts: HostNames = Field(
        default=(),
        description="Host names to answer besides that of the public URL and loopback; each counts as exposed.",
    )
    allowed_origins: HostNames = Field(
        default=(),
        description="Browser origins to admit besides ours, loopback and, unless `auth=none`, the known web clients; "
        "`*`: all.",
    )
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="Largest request body, in bytes.")
    page_size: int = Field(default=200, ge=1, description="Most tools, prompts or resources on one page of a list.")
    quiet_s: float = Field(
        default=0.25, gt=0, description="Seconds after which a silent call answers as an event stream instead of JSON."
    )
    keepalive_s: float = Field(default=15, gt=0, description="Seconds between keep-alive comments on an event stream.")
    session_ttl_s: int = Field(
        default=30 * 86400, ge=60, description="Life of a session in seconds; renewed when half of it is gone."
    )
    stream_ttl_s: int = Field(
        default=3600, ge=60, description="Seconds for which an event stream can be resumed after its last event."
    )
    question_ttl_s: int = Field(default=600, ge=5, description="Seconds that a question to the user stays open.")
    lease_s: float = Field(
        default=6, ge=1, description="Seconds without a heartbeat after which another instance takes a stream over."
    )
    recheck_s: float = Field(
        default=60, gt=0, description="Seconds after which a held stream checks its credential again."
    )
    drain_s: float = Field(default=5, ge=0, description="Seconds between SIGTERM and the end of listening.")
    stall_s: float = Field(
        default=30,
        gt=0,
        description="With `mcp-edge serve`: seconds after which a client that takes nothing of what waits for it is "
        "cut off.",
    )
    max_connections: int = Field(
        default=2048,
        ge=2,
        description="With `mcp-edge serve`: connections to one process, half of them from one network or user. Idle "
        "ones give way; when all are busy, new ones get 503.",
    )
    max_sessions: int = Field(default=1000, ge=1, description="Sessions per principal; the oldest one gives way.")
    max_streams: int = Field(
        default=256,
        ge=1,
        description="Streams that a principal may hold open: to listen, to resume, or for calls that take a while, "
        "each of a batch. On HTTP+SSE as many calls may be under way besides.",
    )
    max_questions: int = Field(default=64, ge=1, description="Questions that may be open per principal.")
    max_log_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=65536,
        description="Bytes stored per principal and hour: event streams, and what is posted for them (messages of "
        "HTTP+SSE, answers to questions, subscriptions, arguments of calls that wait).",
    )
    log_format: Literal["text", "json"] = Field(default="json", description="Form of the log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level logged."
    )
    upstream_url: str = Field(default="https://api.github.com", description="Base URL of the API behind the tools.")
    upstream_token: SecretStr | None = Field(
        default=None, description="Upstream credential for users who have none of their own."
    )
    upstream_tokens: SecretPairs = Field(
        default_factory=dict[str, SecretStr],
        description="Upstream credentials per user, before any other: `subject:token` for users without a tenant, "
        'or a JSON object, whose names may also be principals: `{"ISSUER|TENANT|SUBJECT": "TOKEN"}`.',
    )
    upstream_account: Literal["settings", "identity", "connect"] = Field(
        default="settings",
        description="Whose credential tools use upstream: that of these settings, the user's own from the `identity` "
        "provider, or an account that each user is asked to `connect`. The last two need `auth=oauth`.",
    )
    connect_provider: Literal["github", "sentry", "oidc"] = Field(
        default="github", description="With `upstream_account=connect`: whose accounts are connected."
    )
    connect_issuer: str | None = Field(default=None, description="As `identity_issuer`, for the connected account.")
    connect_client_id: str | None = Field(
        default=None, description="As `identity_client_id`, for the connected account."
    )
    connect_client_secret: SecretStr | None = Field(
        default=None, description="As `identity_client_secret`, for the connected account."
    )
    connect_scopes: Words = Field(default=(), description="Scopes asked for the connected account.")
    _extra: Mapping[str, str] = PrivateAttr(default=HiddenValues({}))

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.isascii():
            raise ValueError("must be ASCII: write the host name as `xn--…`")
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        except ValueError:  # its text quotes the authority, with the password that may be in it
            raise ValueError("is no URL") from None
        if not usable or parts.query or parts.fragment:
            raise ValueError("must be an absolute http(s) URL without user, query or fragment")
        # Clients compare it with what a URL parser makes of what they were given (RFC 3986 §6.2.2.1).
        return f"{parts.scheme}://{lowered(parts.netloc)}{parts.path}".rstrip("/")

    @property
    def extra(self) -> Mapping[str, str]:
        """The host's variables without the prefix `MCP_`, for options of the fork's own; an empty one is absent.

        They may hold secrets, so nothing shows them: neither a `repr` nor `mcp-edge settings`.
        """
        return self._extra

    def extra_as(self, model: type[_Model]) -> _Model:
        """`extra` as a model of the fork's own, whose field `weather_api_key` is the variable `WEATHER_API_KEY`.

        Raises:
            ConfigurationError: a variable is missing or cannot be read.
        """
        return _read(model, self.extra, "")

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The settings in `env`; what has another name than an option is `extra`.

        Raises:
            ConfigurationError: a value cannot be read.
        """
        settings = _read(cls, env, PREFIX)
        settings._extra = HiddenValues({k: v for k, v in env.items() if v and not k.startswith(PREFIX)})
        return settings

    @classmethod
    def unknown(cls, env: Iterable[str]) -> list[str]:
        """The `MCP_` names in `env` that are no options: a spelling mistake, or another program's (`MCP_TIMEOUT`)."""
        return sorted(k for k in env if k.startswith(PREFIX) and lowered(k[len(PREFIX) :]) not in cls.model_fields)


def _read(model: type[_Model], env: Mapping[str, str], prefix: str) -> _Model:
    """`model` from the variables in `env` that bear its fields' names."""
    given = {
        name: value
        for name in model.model_fields
        if (value := env.get(prefix + name.upper(), "")) != ""  # an empty variable is an absent one
    }
    for name, value in given.items():
        if any("\ud800" <= c <= "\udfff" for c in value):  # how Python writes bytes that are no text
            raise ConfigurationError(f"{prefix}{name.upper()}: is not UTF-8")
    try:
        return model.model_validate(given)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        name = prefix + str(first["loc"][0]).upper() if first["loc"] else "settings"
        # pydantic puts that in front of a sentence of our own
        raise ConfigurationError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
