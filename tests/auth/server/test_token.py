"""/token, /revoke and /introspect over HTTP: what is answered, to whom, and in which words it is refused."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest

from mcp_edge.auth.server.attempts import PER_WINDOW
from mcp_edge.errors import StoreUnavailable
from tests.auth.server.granting import ANN, OTHER, URLS, VERIFIER, Fate, GrantInstance
from tests.auth.server.token_endpoints import FORM, ODD, ONCE, SAFE, SECRET, TokenEndpoints, basic

pytestmark = pytest.mark.anyio

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


def told(response: httpx.Response) -> tuple[int, str]:
    """The status and the error."""
    return response.status_code, response.json().get("error", "") if response.content else ""


def safe(headers: httpx.Headers) -> bool:
    """Whether nobody may keep the answer."""
    return {name: headers.get(name) for name in NO_STORE} == NO_STORE


# -- /token ------------------------------------------------------------------------------------------------------------


async def test_a_code_becomes_tokens_which_are_renewed_and_given_back(endpoints: TokenEndpoints) -> None:
    first = await endpoints.redeem(await endpoints.granting.code(), resource=URLS.at("/mcp"))
    tokens = first.json()
    assert (first.status_code, safe(first.headers)) == (200, True)
    assert tokens == {
        "access_token": tokens["access_token"],
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": tokens["refresh_token"],
        "scope": "notes:write",
    }
    assert (await endpoints.call(tokens["access_token"])).status_code == 200
    second = (await endpoints.refresh(tokens["refresh_token"], resource=URLS.at("/mcp"), scope="notes:read")).json()
    assert second["scope"] == "notes:read"
    assert (await endpoints.call(second["access_token"])).status_code == 200
    gone = await endpoints.post("/revoke", {"token": second["refresh_token"], "client_id": "app"})
    assert (gone.status_code, gone.content, safe(gone.headers)) == (200, b"", True)
    assert [(await endpoints.call(t["access_token"])).status_code for t in (tokens, second)] == [401, 401]
    assert told(await endpoints.refresh(second["refresh_token"])) == (400, "invalid_grant")


async def test_of_twenty_parallel_requests_with_one_code_at_most_one_gets_tokens_and_they_are_ended(
    endpoints: TokenEndpoints,
) -> None:
    code = await endpoints.granting.code()
    answers = await asyncio.gather(*(endpoints.redeem(code) for _ in range(20)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert (len(won), [told(a) for a in answers if a.status_code != 200]) == (1, [(400, "invalid_grant")] * 19)
    assert (await endpoints.call(won[0]["access_token"])).status_code == 401
    assert told(await endpoints.refresh(won[0]["refresh_token"])) == (400, "invalid_grant")


async def test_twenty_parallel_requests_with_one_refresh_token_get_one_answer(endpoints: TokenEndpoints) -> None:
    tokens = (await endpoints.redeem(await endpoints.granting.code())).json()
    answers = await asyncio.gather(*(endpoints.refresh(tokens["refresh_token"]) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": "other"}, "invalid_grant"),
        ({"code_verifier": VERIFIER[:-1] + "2"}, "invalid_grant"),
        ({"code_verifier": "too-short"}, "invalid_grant"),
        ({"code_verifier": "é" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_grant"),
        ({"resource": "https://evil.example/mcp"}, "invalid_target"),
        ({"code": ""}, "invalid_request"),
        ({"code": "mec_nothing"}, "invalid_grant"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
    ],
    ids=str,
)
async def test_a_wrong_request_is_refused_and_the_right_one_still_succeeds(
    in_memory: TokenEndpoints, change: dict[str, str], error: str
) -> None:
    code = await in_memory.granting.code()
    refused = await in_memory.redeem(code, **change)
    assert (told(refused), safe(refused.headers)) == ((400, error), True)
    assert sorted(refused.json()) == ["error", "error_description"]
    assert told(await in_memory.redeem(code)) == (200, "")


@pytest.mark.parametrize("scope", ["notes:share", "notes:read notes:share", "unknown", 'a"b', "a  b"])
async def test_a_refresh_cannot_add_scopes(in_memory: TokenEndpoints, scope: str) -> None:
    tokens = (await in_memory.redeem(await in_memory.granting.code())).json()
    assert told(await in_memory.refresh(tokens["refresh_token"], scope=scope)) == (400, "invalid_scope")
    assert told(await in_memory.refresh(tokens["refresh_token"], scope="notes:read notes:write")) == (200, "")


async def test_a_client_uses_the_grant_types_it_is_registered_for(in_memory: TokenEndpoints) -> None:
    answer = await in_memory.redeem(await in_memory.granting.code(client=ONCE), "once")
    assert (answer.status_code, "refresh_token" in answer.json()) == (200, False)
    others = (await in_memory.redeem(await in_memory.granting.code(client=OTHER), "other")).json()["refresh_token"]
    assert told(await in_memory.refresh(others, "once")) == (400, "unauthorized_client")


@pytest.mark.parametrize("name", ["code", "client_id", "grant_type", "code_verifier", "whatever"])
async def test_a_parameter_that_is_repeated_is_refused(in_memory: TokenEndpoints, name: str) -> None:
    form = {"grant_type": "authorization_code", "code": await in_memory.granting.code(), "client_id": "app",
            "code_verifier": VERIFIER, "whatever": "1"}  # fmt: skip
    twice = [*form.items(), (name, form[name])]
    assert told(await in_memory.post("/token", twice)) == (400, "invalid_request")
    assert told(await in_memory.post("/token", form)) == (200, "")


async def test_a_resource_may_be_repeated_but_not_contradicted(in_memory: TokenEndpoints) -> None:
    form = {"grant_type": "authorization_code", "code": await in_memory.granting.code(), "client_id": "app",
            "code_verifier": VERIFIER, "resource": URLS.at("/mcp")}  # fmt: skip
    two = [*form.items(), ("resource", URLS.at("/sse"))]
    assert told(await in_memory.post("/token", two)) == (400, "invalid_target")
    assert told(await in_memory.post("/token", [*form.items(), ("resource", URLS.at("/mcp"))])) == (200, "")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 400),
        ("", b"grant_type=refresh_token", 400),
        (FORM, b"grant_type=%ff", 400),
        (FORM, b"grant_type=\xff", 400),
        (FORM, b"&".join(b"a%d=1" % n for n in range(200)), 400),
        (FORM, b"a=" + b"x" * 65536, 413),
        (FORM, b"", 400),
    ],
    ids=["json", "no type", "no UTF-8", "no ASCII", "many fields", "large", "empty"],
)
async def test_a_body_that_is_no_form_is_refused(
    in_memory: TokenEndpoints, kind: str, body: bytes, status: int
) -> None:
    headers = {"content-type": kind} if kind else {}
    for path in ("/token", "/revoke", "/introspect"):
        answer = await in_memory.http.post(path, content=body, headers=headers)
        assert (told(answer), safe(answer.headers)) == ((status, "invalid_request"), True)


# -- which client it is ------------------------------------------------------------------------------------------------

CHALLENGE = 'Basic realm="mcp-edge", charset="UTF-8"'
POST = {"client_id": ODD, "client_secret": SECRET}


@pytest.mark.parametrize(
    ("form", "headers", "status", "error", "challenge"),
    [
        ({}, basic(ODD, SECRET), 200, "", None),
        ({"client_id": ODD}, basic(ODD, SECRET), 200, "", None),
        (POST, {}, 200, "", None),
        ({}, basic(ODD, "wrong"), 401, "invalid_client", CHALLENGE),
        ({}, basic(ODD, ""), 401, "invalid_client", CHALLENGE),
        ({}, basic("nobody", SECRET), 401, "invalid_client", CHALLENGE),
        ({}, {"authorization": "Basic !!!"}, 401, "invalid_client", CHALLENGE),
        ({}, {"authorization": "Basic bm9jb2xvbg=="}, 401, "invalid_client", CHALLENGE),
        ({}, {"authorization": "Bearer x"}, 401, "invalid_client", CHALLENGE),
        (POST | {"client_secret": "wrong"}, {}, 401, "invalid_client", None),
        ({"client_id": ODD}, {}, 401, "invalid_client", None),
        ({"client_id": "nobody"}, {}, 401, "invalid_client", None),
        ({"client_id": "app", "client_secret": "made up"}, {}, 401, "invalid_client", None),
        ({}, basic("app", "made up"), 401, "invalid_client", CHALLENGE),
        (POST, basic(ODD, SECRET), 400, "invalid_request", None),
        ({"client_id": "app"}, basic(ODD, SECRET), 400, "invalid_request", None),
        ({}, {}, 400, "invalid_request", None),
    ],
)
@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
async def test_a_client_proves_who_it_is_in_one_way(
    in_memory: TokenEndpoints,
    path: str,
    form: dict[str, str],
    headers: dict[str, str],
    status: int,
    error: str,
    challenge: str | None,
) -> None:
    code = await in_memory.granting.code(client=SAFE)
    work = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER, "token": "mea_x"}
    answer = await in_memory.post(path, work | form, headers)
    assert (told(answer), answer.headers.get("www-authenticate")) == ((status, error), challenge)
    assert safe(answer.headers)


# -- /revoke and /introspect -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_a_client_gives_its_own_tokens_back_and_no_others(endpoints: TokenEndpoints, which: str) -> None:
    tokens = (await endpoints.redeem(await endpoints.granting.code())).json()
    theirs = await endpoints.post("/revoke", {"token": tokens[which], "client_id": "other"})
    assert (theirs.status_code, (await endpoints.call(tokens["access_token"])).status_code) == (200, 200)
    hint = {"token_type_hint": "refresh_token" if which == "access_token" else "access_token"}  # wrong on purpose
    mine = await endpoints.post("/revoke", {"token": tokens[which], "client_id": "app"} | hint)
    assert (mine.status_code, (await endpoints.call(tokens["access_token"])).status_code) == (200, 401)


@pytest.mark.parametrize("token", ["unknown", "mer_" + "0" * 128, "mea_" + "0" * 80, "mec_" + "0" * 96, "\ud7ff"])
async def test_giving_back_what_is_no_token_is_no_error(in_memory: TokenEndpoints, token: str) -> None:
    assert (await in_memory.post("/revoke", {"token": token, "client_id": "app"})).status_code == 200


async def test_a_client_with_a_secret_asks_about_its_own_tokens(endpoints: TokenEndpoints) -> None:
    own = await endpoints.granting.tokens(client=SAFE)
    other = await endpoints.granting.tokens()
    asked = [await endpoints.post("/introspect", {"token": t.access_token}, basic(ODD, SECRET)) for t in (own, other)]
    assert [answer.json()["active"] for answer in asked] == [True, False]
    assert all(safe(answer.headers) for answer in asked)
    assert asked[0].json()["client_id"] == ODD
    public = await endpoints.post("/introspect", {"token": other.access_token, "client_id": "app"})
    assert told(public) == (401, "invalid_client")


# -- HTTP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect", "/register"])
async def test_only_post_is_answered(in_memory: TokenEndpoints, path: str, method: str) -> None:
    answer = await in_memory.http.request(method, path)
    assert (answer.status_code, answer.headers["allow"].split(", ")[0]) == (405, "POST")


@pytest.mark.parametrize(("path", "opened"), [("/token", True), ("/revoke", True), ("/introspect", False)])
async def test_pages_of_every_origin_may_send_a_token_request_without_cookies(
    in_memory: TokenEndpoints, path: str, opened: bool
) -> None:
    origin = {"origin": "https://anywhere.example"}
    asked = await in_memory.http.options(path, headers=origin | {"access-control-request-method": "POST"})
    answered = await in_memory.post(path, {"client_id": "app"}, origin)
    allowed = "*" if opened else None
    for answer in (asked, answered):
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers
    assert asked.status_code == (204 if opened else 405)


async def test_an_address_that_tries_too_often_is_told_when_to_come_back(in_memory: TokenEndpoints) -> None:
    answers = [await in_memory.redeem("mec_guess") for _ in range(PER_WINDOW["token"])]
    assert {told(answer) for answer in answers} == {(400, "invalid_grant")}
    refused = await in_memory.redeem(await in_memory.granting.code())
    assert (told(refused), int(refused.headers["retry-after"]) > 0) == ((429, "temporarily_unavailable"), True)
    in_memory.granting.clock.advance(120)
    assert told(await in_memory.redeem(await in_memory.granting.code())) == (200, "")


async def test_without_the_store_nobody_gets_anything_and_nothing_is_lost(in_memory: TokenEndpoints) -> None:
    code, granting = await in_memory.granting.code(), in_memory.granting
    trouble = granting.trouble(1, Fate.REFUSED)
    away = TokenEndpoints(GrantInstance(trouble.records, trouble.atomics, granting.clock))
    refused = await away.redeem(code)
    assert (told(refused), refused.headers["retry-after"]) == ((503, "temporarily_unavailable"), "2")
    assert told(await in_memory.redeem(code)) == (200, "")
    assert StoreUnavailable.__name__ not in refused.text


async def test_every_decision_is_in_the_log_and_no_secret_is(
    in_memory: TokenEndpoints, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        code = await in_memory.granting.code(client=SAFE)
        headers = basic(ODD, SECRET)
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        tokens = (await in_memory.post("/token", form, headers)).json()
        assert (await in_memory.call(tokens["access_token"])).status_code == 200
        again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        later = (await in_memory.post("/token", again, headers)).json()
        await in_memory.post("/token", {"grant_type": "refresh_token", "refresh_token": "mer_" + "1" * 128}, headers)
        await in_memory.post("/token", form, headers)
        await in_memory.post("/token", form, basic(ODD, "guess-of-a-secret"))
        await in_memory.call("mea_" + "7" * 80)
    text = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    secrets = [code, code[36:], VERIFIER, SECRET, headers["authorization"][6:], "guess-of-a-secret", "1" * 64, "7" * 64,
               *(tokens[n] for n in ("access_token", "refresh_token")),
               *(later[n] for n in ("access_token", "refresh_token"))]  # fmt: skip
    assert [secret for secret in secrets if secret in text] == []
    assert ANN.subject not in text
    for said in ("the code was used again", "wrong secret", "unknown, expired or ended", "198.51.100.7"):
        assert said in text
