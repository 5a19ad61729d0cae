"""The part of an OAuth client (RFC 6749 §4.1, RFC 7636) that every provider needs. It knows no provider by name."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import httpx

from mcp_edge.auth.identity.provider import Departure, SignInRefused, TokenSet
from mcp_edge.errors import UpstreamError
from mcp_edge.outbound.fetch import exchange, json_object
from mcp_edge.platform import Platform
from mcp_edge.text.ascii import digits, lowered

TIMEOUT_S = 10.0
MAX_BYTES = 256 * 1024
MAX_TOKEN_CHARS = 32 * 1024

SecretMethod = Literal["client_secret_basic", "client_secret_post"]

_SPENT = frozenset({"invalid_grant", "bad_verification_code", "bad_refresh_token", "expired_token"})
"""Codes by which a provider says that a code or refresh token is good no more; the middle ones are GitHub's."""
_OURS = frozenset({"invalid_client", "unauthorized_client", "incorrect_client_credentials", "redirect_uri_mismatch"})
"""Codes by which it says that this server is set up wrongly."""
_LATER = frozenset({"server_error", "temporarily_unavailable"})
_ERROR_CODE = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """This server as an OAuth client of one provider: the code flow with PKCE, and refreshes."""

    platform: Platform
    label: str
    """The provider's name, as users know it."""
    id: str
    secret: str = field(default="", repr=False)

    def departure(
        self,
        endpoint: str,
        *,
        state: str,
        callback: str,
        scopes: Sequence[str],
        more: Mapping[str, str],
    ) -> Departure:
        """Where the browser goes, with PKCE. `more` are further parameters of the provider's endpoint."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": callback,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"scope": " ".join(dict.fromkeys(scopes))} if scopes else {}),
            **more,
        }
        separator = "&" if urlsplit(endpoint).query else "?"
        return Departure(endpoint + separator + urlencode(query, quote_via=quote), {"verifier": verifier})

    def code(self, query: Mapping[str, str], *, issuer: str = "", names_itself: bool = False) -> str:
        """The code that the browser came back with.

        An `iss` that is not `issuer` is another server's answer (RFC 9207 §2.4); where the provider has announced that
        it names itself, its absence is too.

        Raises:
            SignInRefused: the user denied, the answer is another server's, or there is no code.
            UpstreamError: the provider has a problem.
        """
        named = query.get("iss")
        if (issuer and named is not None and named != issuer) or (names_itself and named is None):
            raise SignInRefused(
                "This answer is not from the server that you were sent to. Start again.", "iss is not ours"
            )
        if (error := query.get("error")) is not None:
            raise self._sent_back(error)
        code = query.get("code", "")
        if not 0 < len(code) <= MAX_TOKEN_CHARS:
            raise SignInRefused(f"{self.label} sent you back without an answer. Start again.", "no code")
        return code

    def _sent_back(self, error: str) -> Exception:
        if error == "access_denied":
            return SignInRefused(f"The sign-in at {self.label} was cancelled or denied.", "access_denied")
        if error in _LATER:
            return UpstreamError(f"{self.label} has a problem of its own. Try again later.")
        return SignInRefused(f"{self.label} did not sign you in.", f"error {_clean(error)}")

    async def redeem(
        self, endpoint: str, code: str, secrets: Mapping[str, str], *, callback: str, method: SecretMethod
    ) -> dict[str, Any]:
        """The token endpoint's answer to a code (RFC 6749 §4.1.3).

        Raises:
            SignInRefused: the code is good no more.
            UpstreamError: the provider cannot be reached or does not accept this server.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "code_verifier": secrets.get("verifier", ""),
        }
        return await self._tokens(endpoint, form, method, f"The sign-in at {self.label} has expired. Start again.")

    async def renew(self, endpoint: str, tokens: TokenSet, method: SecretMethod) -> TokenSet:
        """Fresh tokens for a refresh token (RFC 6749 §6); the old one stays where no new one is given.

        Raises:
            SignInRefused: it is good no more.
            UpstreamError: the provider cannot be reached or does not accept this server.
        """
        message = f"{self.label} takes this account's credential no more."
        if not tokens.refresh_token:
            raise SignInRefused(message, "no refresh token")
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        fresh = self.tokens(await self._tokens(endpoint, form, method, message))
        return TokenSet(
            fresh.access_token,
            fresh.refresh_token or tokens.refresh_token,
            fresh.expires_at,
            fresh.scope or tokens.scope,
        )

    async def _tokens(self, endpoint: str, form: dict[str, str], method: SecretMethod, spent: str) -> dict[str, Any]:
        headers = {"accept": "application/json"}
        if self.secret and method == "client_secret_basic":
            pair = f"{quote(self.id, safe='')}:{quote(self.secret, safe='')}"  # RFC 6749 §2.3.1
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form = {**form, "client_id": self.id, **({"client_secret": self.secret} if self.secret else {})}
        client = self.platform.http()
        request = client.build_request("POST", endpoint, data=form, headers=headers, timeout=TIMEOUT_S)
        response = await exchange(client, request, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, whose=self.label)
        if response.status_code >= 500:
            raise UpstreamError(f"{self.label} has a problem of its own (status {response.status_code}).")
        answer = json_object(response, self.label)
        if (error := answer.get("error")) is not None or response.status_code != 200:
            raise self._refused(str(error), response.status_code, spent)
        return answer

    def _refused(self, error: str, status: int, spent: str) -> Exception:
        if error in _SPENT:
            return SignInRefused(spent, f"token endpoint: {error}")
        if error in _OURS or status == 401:
            return UpstreamError(f"{self.label} does not accept this server: its operator must correct its client.")
        return UpstreamError(f"{self.label} gave no tokens (status {status}, {_clean(error)}).")

    def tokens(self, answer: Mapping[str, Any]) -> TokenSet:
        """The tokens in an answer of the token endpoint (RFC 6749 §5.1).

        Raises:
            UpstreamError: there is none that can be used.
        """
        access, kind, refresh = (answer.get(name) for name in ("access_token", "token_type", "refresh_token"))
        if not isinstance(access, str) or not 0 < len(access) <= MAX_TOKEN_CHARS or not access.isascii():
            raise UpstreamError(f"{self.label}'s answer has no access token.")
        if not isinstance(kind, str) or lowered(kind) != "bearer":
            raise UpstreamError(f"{self.label} gives tokens of a kind that is not known here.")
        life_s, scope = _seconds(answer.get("expires_in")), answer.get("scope")
        return TokenSet(
            access,
            refresh if isinstance(refresh, str) and len(refresh) <= MAX_TOKEN_CHARS else "",
            None if life_s is None else self.platform.clock() + life_s,
            scope if isinstance(scope, str) else "",
        )

    async def get(self, url: str, token: str) -> httpx.Response:
        """GET with an access token; the whole answer, whose status is 200.

        Raises:
            UpstreamError: there is none.
        """
        client = self.platform.http()
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        request = client.build_request("GET", url, headers=headers, timeout=TIMEOUT_S)
        response = await exchange(client, request, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, whose=self.label)
        if response.status_code != 200:
            raise UpstreamError(f"{self.label} did not say who you are (status {response.status_code}).")
        return response


def _seconds(value: Any) -> float | None:
    """A life in seconds; some providers write the number as text. None for no end, or nonsense."""
    if isinstance(value, str) and digits(value) and len(value) < 12:
        value = int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e11:
        return float(value)
    return None


def _clean(error: str) -> str:
    """An error code that somebody else has written, fit for a log line and a page."""
    return error if _ERROR_CODE.fullmatch(error) else "an unknown error"
