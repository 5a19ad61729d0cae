"""GET /authorize (RFC 6749 §4.1.1, RFC 7636, RFC 8707, RFC 9207): checks the request. It stores nothing itself."""

from __future__ import annotations

import re

from mcp_edge.auth.server.browser import consent, flows, remembered_consent
from mcp_edge.auth.server.clients import redirect_uris
from mcp_edge.auth.server.model import AuthorizationRequest, Client, OAuthError
from mcp_edge.auth.server.parameters import Parameters
from mcp_edge.auth.server.server import AuthorizationServer
from mcp_edge.errors import BadRequest
from mcp_edge.protocol.request import Request
from mcp_edge.text.option_values import is_scope_list

MAX_QUERY_BYTES = 8 * 1024
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_ONCE = frozenset(
    {"response_type", "response_mode", "state", "scope", "code_challenge", "code_challenge_method", "prompt"}
)


async def authorize(server: AuthorizationServer, request: Request) -> None:
    """GET /authorize: answer with the consent page, with a code if consent is remembered, or with an error for the
    client.

    Raises:
        OAuthError: the client or its redirect URI is not known, so that only a page can say so.
        BadRequest: the request is too long, or cannot be read.
    """
    request.only("GET")
    if len(request.query) > MAX_QUERY_BYTES:
        raise BadRequest(f"The request is over {MAX_QUERY_BYTES} bytes.")
    parameters = Parameters.parse(request.query)
    try:
        client, redirect_uri = await _destination(server, request, parameters)
    except OAuthError as e:
        e.client = parameters.one("client_id")
        raise
    # From here on the client is told, not the user (RFC 6749 §4.1.2.1).
    try:
        requested = await _requested(server, parameters, client, redirect_uri)
        await _proceed(server, request, client, requested, prompt=parameters.words("prompt"))
    except OAuthError as e:
        state = "" if "state" in parameters.repeated else parameters.one("state")
        unchecked = AuthorizationRequest(client.id, redirect_uri, state, "", "", frozenset())
        reason, ask_first = f"{e.error}: {e.reason}", not await _trusted(server, request, client, redirect_uri)
        await flows.refuse(server, request, unchecked, e.error, e.message, reason=reason, ask_first=ask_first)


async def _trusted(server: AuthorizationServer, request: Request, client: Client, redirect_uri: str) -> bool:
    """Whether a browser may be sent to the redirect URI although its user has pressed no button.

    Anybody can register an address, and let a link to this server lead there by a wrong request (RFC 9700 §4.11.2).
    """
    if client.kind == "static" or redirect_uris.is_loopback(redirect_uri):
        return True
    user = await server.browsers.user(request)
    return user is not None and await remembered_consent.granted_before(server, user, client.id, redirect_uri)


async def _proceed(
    server: AuthorizationServer, request: Request, client: Client, requested: AuthorizationRequest, *, prompt: list[str]
) -> None:
    user = await server.browsers.user(request)
    if user is not None and "consent" not in prompt and not await consent.must_sign_in(server, user):
        chosen = await remembered_consent.recalled(server, request, user, requested)
        if chosen is not None:
            flow = flows.begin(server, client, requested, chosen)
            await flows.issue(server, request, flow, requested, user, decided_before=True)
            return
    if "none" in prompt:
        raise OAuthError("interaction_required", "The user has to decide on a page.")
    flow = flows.begin(server, client, requested, requested.scopes)
    await consent.send_consent_page(server, request, client, flow, requested, user)


async def _destination(server: AuthorizationServer, request: Request, parameters: Parameters) -> tuple[Client, str]:
    """The client and the redirect URI of its answers. Nothing is ever sent anywhere else (RFC 9700 §4.1).

    Raises:
        OAuthError: one of the two is missing or not registered. Only a page may say so.
        BadRequest: a parameter is repeated.
    """
    client_id, redirect_uri = parameters.one("client_id"), parameters.one("redirect_uri")
    if not client_id:
        raise OAuthError("invalid_request", "The app did not say who it is: client_id is missing.")
    client = await server.clients.find_or_fetch(client_id, request)
    if client is None:
        raise OAuthError(
            "invalid_client", "This app is not known here. Remove this server from the app and add it again."
        )
    if not redirect_uri:
        if len(client.redirect_uris) != 1:
            raise OAuthError(
                "invalid_request", "The app did not say where to send the answer: redirect_uri is missing."
            )
        redirect_uri = client.redirect_uris[0]
    if not redirect_uris.allowed(redirect_uri, client.redirect_uris, server.settings.redirect_schemes):
        raise OAuthError("invalid_request", "The app wants the answer sent to an address that it has not registered.")
    if server.urls.is_own(redirect_uri):
        raise OAuthError("invalid_request", "The app wants the answer sent to this server itself, where no app is.")
    return client, redirect_uri


async def _requested(
    server: AuthorizationServer, parameters: Parameters, client: Client, redirect_uri: str
) -> AuthorizationRequest:
    """The request, if all of its parameters are valid.

    Raises:
        OAuthError: the client is told what is wrong.
    """
    if repeated := sorted(parameters.repeated & _ONCE):
        raise OAuthError("invalid_request", f"{repeated[0]} appears more than once.")
    if not parameters.one("response_type"):
        raise OAuthError("invalid_request", "response_type is missing.")
    if parameters.one("response_type") != "code":
        raise OAuthError("unsupported_response_type", "Only response_type=code is supported.")
    if parameters.one("response_mode") not in ("", "query"):
        raise OAuthError("invalid_request", "Only response_mode=query is supported.")
    if "authorization_code" not in client.grant_types:
        raise OAuthError("unauthorized_client", "This client did not register for authorization codes.")
    if parameters.one("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(parameters.one("code_challenge")):
        raise OAuthError("invalid_request", "PKCE is required: code_challenge with code_challenge_method=S256.")
    return AuthorizationRequest(
        client_id=client.id,
        redirect_uri=redirect_uri,
        state=parameters.one("state"),
        code_challenge=parameters.one("code_challenge"),
        resource=_resource(server, parameters),
        scopes=await _scopes(server, parameters, client),
        client_kind=client.recorded_kind,
    )


def _resource(server: AuthorizationServer, parameters: Parameters) -> str:
    """RFC 8707 §2: an error even where only one of several is not ours."""
    named = set(parameters.all("resource"))
    if not named:
        return server.urls.issuer
    found = {server.urls.resource(text) for text in named}
    resource = found.pop()
    if found or resource is None:
        raise OAuthError("invalid_target", f"resource must be one of {', '.join(server.urls.resources)}.")
    return resource


async def _scopes(server: AuthorizationServer, parameters: Parameters, client: Client) -> frozenset[str]:
    scopes = await server.scopes()
    most = frozenset(scopes.by_name) if client.scopes is None else scopes.closure(client.scopes)
    named = frozenset(parameters.words("scope"))
    if unknown := sorted(named - scopes.by_name.keys()):
        # What was sent is for the log alone: a stranger's link would have this server say it to its user.
        description, reason = (
            f"The scopes here are {', '.join(scopes.by_name)}.",
            f"there is no scope {unknown[0][:80]}",
        )
        if not is_scope_list(" ".join(unknown)):
            description = reason = "scope is not a list of scopes (RFC 6749 §3.3)."
        raise OAuthError("invalid_scope", description, reason=reason)
    if beyond := sorted(named - most):
        raise OAuthError("invalid_scope", f"This client may not ask for {beyond[0]}.")
    if not (named or scopes.baseline & most):
        raise OAuthError("invalid_scope", "Name a scope: none is given without being asked for.")
    return named or scopes.baseline & most
