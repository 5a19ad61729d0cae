"""What a credential allows decides what its caller may use, see and hear of, on every wire."""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer

from mcp_edge import Scope, User, declare_scopes, requires
from mcp_edge.app import create_app
from mcp_edge.auth.authenticator import BearerKeys
from mcp_edge.auth.modes import AuthMode
from mcp_edge.auth.permissions import Permissions
from mcp_edge.auth.scopes import Scopes
from mcp_edge.errors import ConfigurationError
from mcp_edge.protocol.request import Request
from mcp_edge.records.changes import Change, Changes
from tests.support import deployment
from tests.support.asgi import Answer
from tests.support.deployment import HANDSHAKE, Deployment, Instance, Session, bearer, json_of, request, text
from tests.support.scoped import SCOPES, Badges, scoped_server

pytestmark = pytest.mark.anyio

WRITER, READER, NOBODY, UNRESTRICTED = "ann write", "ann read", "ann other", "ann"

CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "tool": ("tools/call", {"name": "look", "arguments": {}}, "read"),
    "prompt": ("prompts/get", {"name": "secret"}, "read"),
    "resource": ("resources/read", {"uri": "secret://fixed"}, "read"),
    "template": ("resources/read", {"uri": "secret://of/7"}, "read"),
    "completion of a prompt": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "secret"}, "argument": {"name": "x", "value": "a"}},
        "read",
    ),
    "completion of a template": (
        "completion/complete",
        {"ref": {"type": "ref/resource", "uri": "secret://of/{id}"}, "argument": {"name": "id", "value": "a"}},
        "read",
    ),
    "completion of a resource": (
        "completion/complete",
        {"ref": {"type": "ref/resource", "uri": "secret://of/7"}, "argument": {"name": "id", "value": "a"}},
        "read",
    ),
    "two scopes": ("tools/call", {"name": "history", "arguments": {}}, "audit write"),
}


@pytest.fixture
def badges(monkeypatch: pytest.MonkeyPatch) -> Badges:
    """Every instance serves the scoped server to holders of badges."""
    badges = Badges()

    def choose_mode(*_: object) -> AuthMode:
        return AuthMode(badges)

    monkeypatch.setattr("mcp_edge.app.choose_mode", choose_mode)
    monkeypatch.setattr(deployment, "create_server", scoped_server)
    return badges


@pytest.fixture
def a(edge: Deployment, badges: Badges) -> Instance:
    del badges
    return edge.instance("A", auth="keys")


@pytest.fixture
def b(edge: Deployment, a: Instance) -> Instance:
    del a
    return edge.instance("B", auth="keys")


def refused(answer: Answer, scopes: str, id: Any = 1, held: str = "") -> None:
    """The answer is the one challenge of RFC 6750 §3.1, with what the caller has besides, and nothing else."""
    asked = " ".join(sorted({*scopes.split(), *held.split()}))
    assert answer.status == 403, answer
    assert answer.headers["www-authenticate"] == (
        f'Bearer error="insufficient_scope", scope="{asked}", resource_metadata="https://here.test/.well-known/x"'
    )
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json == {
        "jsonrpc": "2.0",
        "id": id,
        "error": {"code": -32600, "message": f"This needs the scope {scopes}.", "data": {"scope": scopes}},
    }


# -- refused and allowed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", CALLS)
async def test_a_missing_scope_is_a_403_that_names_all_scopes_of_the_operation(a: Instance, what: str) -> None:
    method, params, scopes = CALLS[what]

    refused(await a.modern(method, params, key=NOBODY, id="m").whole(), scopes, "m")
    assert (await a.modern(method, params, key=f"ann {scopes}").whole()).status == 200
    assert (await a.modern(method, params, key=UNRESTRICTED).whole()).status == 200


@pytest.mark.parametrize("version", HANDSHAKE)
@pytest.mark.parametrize("what", CALLS)
async def test_a_session_is_refused_alike(a: Instance, b: Instance, version: str, what: str) -> None:
    method, params, scopes = CALLS[what]
    session = await a.initialize(version, key=NOBODY)
    stepped_up = Session(session.id, version, f"ann {scopes}")

    refused(await session.request(b, method, params, id="h").whole(), scopes, "h")
    assert "result" in (await stepped_up.request(a, method, params).whole()).json


async def test_a_client_that_wants_a_stream_is_refused_before_it_begins(a: Instance) -> None:
    session = await a.initialize(key=READER)
    answer = await session.post(
        a, request("tools/call", {"name": "change", "arguments": {}}), accept="text/event-stream, application/json"
    ).whole()

    refused(answer, "write", held="read")


async def test_nothing_runs_for_who_may_not(edge: Deployment, a: Instance) -> None:
    refused(await a.modern("tools/call", {"name": "change", "arguments": {}}, key=READER).whole(), "write", held="read")
    assert edge.recorder.runs == []

    allowed = await a.modern("tools/call", {"name": "change", "arguments": {}}, key=WRITER).whole()
    assert (text(allowed.json), edge.recorder.runs) == ("changed", ["A:change"])


async def test_a_scope_includes_what_it_implies(a: Instance) -> None:
    assert text((await a.modern("tools/call", {"name": "look", "arguments": {}}, key=WRITER).whole()).json) == "seen"


async def test_what_needs_nothing_is_open_to_every_credential(a: Instance) -> None:
    assert text((await a.modern("tools/call", {"name": "free", "arguments": {}}, key=NOBODY).whole()).json) == "free"
    for method, params in (
        ("prompts/get", {"name": "plain"}),
        ("resources/read", {"uri": "open://fixed"}),
        ("resources/read", {"uri": "open://of/1"}),
    ):
        assert (await a.modern(method, params, key=NOBODY).whole()).status == 200


async def test_what_does_not_exist_is_unknown_to_everybody_as_before(a: Instance) -> None:
    for key in (NOBODY, UNRESTRICTED):
        answer = await a.modern("tools/call", {"name": "no_such", "arguments": {}}, key=key).whole()
        assert (answer.status, answer.json["error"]) == (400, {"code": -32602, "message": "Unknown tool: no_such"})


@pytest.mark.parametrize("odd", [{}, {"name": 7}, {"name": None}, {"name": ["look"]}, {"name": "look", "arguments": 1}])
async def test_malformed_params_are_the_callers_mistake_whatever_it_may_do(a: Instance, odd: dict[str, Any]) -> None:
    answer = await a.modern("tools/call", odd, key=READER).whole()

    assert (answer.status, answer.json["error"]["code"]) in ((400, -32602), (400, -32020))


async def test_a_tool_that_came_or_changed_after_the_start_is_guarded_too(a: Instance) -> None:
    async def call(name: str, key: str) -> Answer:
        return await a.modern("tools/call", {"name": name, "arguments": {}}, key=key).whole()

    assert text((await call("free", READER)).json) == "free"
    await call("grow", READER)

    refused(await call("free", READER), "write", held="read")
    refused(await call("grown", READER), "write", held="read")
    assert text((await call("grown", WRITER)).json) == "grown"


async def test_a_refusal_is_logged_with_who_and_why_and_nothing_secret(
    a: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mcp_edge.audit"):
        await a.modern("tools/call", {"name": "change", "arguments": {}}, key=READER).whole()

    [record] = [record for record in caplog.records if record.name == "mcp_edge.audit"]
    fields: dict[str, str] = getattr(record, "fields")  # noqa: B009 # not a field that logging knows
    assert fields.pop("user") != "ann"
    assert fields == {
        "what": "tools/call change",
        "outcome": "refused",
        "client": "client of ann",
        "address": "127.0.0.1",
        "reason": "needs write, has read",
    }


# -- lists -----------------------------------------------------------------------------------------------------------


async def listed(at: Instance, method: str, key: str, **params: Any) -> dict[str, Any]:
    return (await at.modern(method, params, key=key).whole()).json["result"]


@pytest.mark.parametrize(
    ("method", "field", "name", "free", "guarded"),
    [
        ("tools/list", "tools", "name", {"free", "touch", "grow"}, {"look", "slow"}),
        ("prompts/list", "prompts", "name", {"plain"}, {"secret"}),
        ("resources/list", "resources", "uri", {"open://fixed"}, {"secret://fixed"}),
        (
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
            {"open://of/{id}"},
            {"secret://of/{id}"},
        ),
    ],
)
async def test_lists_show_what_the_caller_may_use(
    a: Instance, method: str, field: str, name: str, free: set[str], guarded: set[str]
) -> None:
    seen = {key: {i[name] for i in (await listed(a, method, key))[field]} for key in (NOBODY, READER, UNRESTRICTED)}

    assert seen[NOBODY] == free
    assert seen[READER] == free | guarded
    assert seen[UNRESTRICTED] >= free | guarded


async def test_pages_hold_each_item_that_the_caller_may_use_once(edge: Deployment, badges: Badges) -> None:
    del badges
    a = edge.instance("A", auth="keys", page_size=1)
    names: list[str] = []
    page: dict[str, Any] = await listed(a, "tools/list", READER)
    while True:
        names += [tool["name"] for tool in page["tools"]]
        assert len(page["tools"]) == 1
        if "nextCursor" not in page:
            break
        page = await listed(a, "tools/list", READER, cursor=page["nextCursor"])

    assert names == ["free", "look", "slow", "touch", "grow"]


async def test_no_shared_cache_may_keep_what_depends_on_the_caller(a: Instance) -> None:
    """The server's own hints say `public`."""
    for method in ("tools/list", "prompts/list"):
        for key in (NOBODY, UNRESTRICTED):
            result = await listed(a, method, key)
            assert (result["cacheScope"], result["ttlMs"]) == ("private", 1000)
    guarded = await listed(a, "resources/read", READER, uri="secret://fixed")
    free = await listed(a, "resources/read", READER, uri="open://fixed")
    assert [guarded["cacheScope"], free["cacheScope"]] == ["private", "public"]


async def test_where_nobody_is_restricted_the_servers_own_hints_hold(edge: Deployment, badges: Badges) -> None:
    del badges
    result = await listed(edge.instance("A", auth="none"), "tools/list", UNRESTRICTED)

    assert (result["cacheScope"], result["ttlMs"]) == ("public", 1000)


# -- batches ---------------------------------------------------------------------------------------------------------


async def test_a_batch_is_refused_whole_with_the_scopes_of_all_of_it(edge: Deployment, a: Instance) -> None:
    batch = [
        request("tools/call", {"name": "look", "arguments": {}}, id=1),
        request("tools/call", {"name": "change", "arguments": {}}, id=2),
        request("tools/call", {"name": "history", "arguments": {}}, id=3),
    ]
    session = await a.initialize("2025-03-26", key=READER)
    refused(await session.post(a, batch).whole(), "audit read write", None)
    assert edge.recorder.runs == []

    stepped_up = Session(session.id, "2025-03-26", "ann audit read write")
    answers = (await stepped_up.post(a, batch).whole()).json
    assert [text(answer) for answer in answers] == ["seen", "changed", "history"]


# -- suspended and resumed -------------------------------------------------------------------------------------------


async def test_a_suspended_call_is_resumed_only_by_who_may_call_it(edge: Deployment, a: Instance, b: Instance) -> None:
    session = await a.initialize(key=WRITER)
    narrower = Session(session.id, session.version, READER)
    call = session.call(a, "rename")
    primed = await call.event()
    asked = await call.message()
    assert primed is not None
    await call.disconnect()
    await call.gone()
    await session.answer(b, asked["id"], {"action": "accept", "content": {"name": "Ann"}})

    refused(await narrower.get(b, primed.id).whole(), "write", None, held="read")
    assert edge.recorder.runs == []

    assert text((await session.get(b, primed.id).messages())[-1]) == "now Ann"


async def test_a_call_under_way_is_resumed_only_by_who_may_call_it(edge: Deployment, a: Instance, b: Instance) -> None:
    session = await a.initialize(key=WRITER)
    narrower = Session(session.id, session.version, NOBODY)
    call = session.post(
        a, request("tools/call", {"name": "slow", "arguments": {}}), accept="text/event-stream, application/json;q=0.9"
    )
    primed = await call.event()
    assert primed is not None
    await call.disconnect()

    refused(await narrower.get(b, primed.id).whole(), "read", None)

    edge.recorder.gate("A").set()
    assert text((await session.get(b, primed.id).messages())[-1]) == "done"


async def test_the_round_trip_of_a_question_needs_the_scope_each_time(edge: Deployment, a: Instance) -> None:
    params: dict[str, Any] = {"name": "rename", "arguments": {}}
    asked = (await a.modern("tools/call", params, key=WRITER).whole()).json["result"]
    [key] = asked["inputRequests"]
    answers = {key: {"action": "accept", "content": {"name": "Ann"}}}
    again = {**params, "inputResponses": answers, "requestState": asked["requestState"]}

    refused(await a.modern("tools/call", again, key=READER).whole(), "write", held="read")
    assert edge.recorder.runs == []
    assert text((await a.modern("tools/call", again, key=WRITER).whole()).json) == "now Ann"


# -- HTTP+SSE --------------------------------------------------------------------------------------------------------


async def test_on_http_sse_the_post_is_refused_and_a_stepped_up_post_passes_on_the_same_stream(
    edge: Deployment, a: Instance, b: Instance
) -> None:
    stream = a.send("GET", "/sse", [("accept", "text/event-stream"), *bearer(READER)])
    opened = await stream.event()
    assert opened is not None
    path = opened.data
    hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    await b.post(request("initialize", hello, id=0), bearer(READER), path=path).whole()
    assert (await stream.message())["id"] == 0
    call = request("tools/call", {"name": "change", "arguments": {}}, id="c")

    refused(await b.post(call, bearer(READER), path=path).whole(), "write", "c", held="read")
    sly = {**call, "mcp-edge/scopes": ["write"]}
    refused(await b.post(sly, bearer(READER), path=path).whole(), "write", "c", held="read")
    assert edge.recorder.runs == []

    assert (await b.post(call, bearer(WRITER), path=path).whole()).status == 202
    assert text(await stream.message()) == "changed"
    listing = request("tools/list", {}, id="l")
    await b.post({**listing, "mcp-edge/scopes": ["write"]}, bearer(READER), path=path).whole()
    assert "change" not in {tool["name"] for tool in (await stream.message())["result"]["tools"]}


# -- changes ---------------------------------------------------------------------------------------------------------


async def touch(at: Instance, uri: str) -> None:
    answer = await at.modern("tools/call", {"name": "touch", "arguments": {"uri": uri}}, key=UNRESTRICTED).whole()
    assert text(answer.json) == "touched"


async def test_who_may_not_read_a_resource_cannot_subscribe_to_it(a: Instance) -> None:
    session = await a.initialize(key=NOBODY)

    refused(await session.request(a, "resources/subscribe", {"uri": "secret://of/1"}).whole(), "read")
    assert (await session.request(a, "resources/subscribe", {"uri": "open://of/1"}).whole()).status == 200


async def test_changes_of_what_the_credential_does_not_allow_are_not_sent(a: Instance, b: Instance) -> None:
    session = await a.initialize(key=READER)
    for uri in ("secret://of/1", "open://of/1"):
        assert (await session.request(a, "resources/subscribe", {"uri": uri}).whole()).status == 200
    narrower = await Session(session.id, session.version, NOBODY).get(a).start()
    await narrower.event()  # the priming
    await touch(b, "secret://of/1")
    await touch(b, "open://of/1")

    assert (await narrower.message())["params"] == {"uri": "open://of/1"}


async def test_a_listener_is_told_which_of_its_subscriptions_hold(a: Instance, b: Instance) -> None:
    wanted = {"notifications": {"resourceSubscriptions": ["secret://of/1", "open://of/1"], "toolsListChanged": True}}
    stream = a.modern("subscriptions/listen", wanted, key=NOBODY)

    acknowledged = (await stream.message())["params"]["notifications"]
    assert acknowledged == {"resourceSubscriptions": ["open://of/1"], "toolsListChanged": True}
    await touch(b, "secret://of/1")
    await touch(b, "open://of/1")
    assert (await stream.message())["params"]["uri"] == "open://of/1"


@pytest.mark.parametrize("way", ["listener", "session", "batch"])
async def test_the_catalogue_is_read_once_for_all_resources_that_a_request_names(
    a: Instance, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    session = await a.initialize("2025-03-26", key=READER)
    uris = [f"open://of/{n}" for n in range(60)]
    for uri in uris if way == "session" else ():
        assert (await session.request(a, "resources/subscribe", {"uri": uri}).whole()).status == 200
    read: list[str] = []
    original = MCPServer[Any].list_resources

    async def counted(server: MCPServer[Any]) -> Any:
        read.append("resources")
        return await original(server)

    monkeypatch.setattr(MCPServer, "list_resources", counted)
    if way == "listener":
        stream = a.modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, key=READER)
        assert (await stream.message())["params"]["notifications"]["resourceSubscriptions"] == uris
    elif way == "session":
        stream = await session.get(a).start()
        await Changes(a.platform).publish("badges||ann", [Change("updated")])
        assert [(await stream.message())["params"]["uri"] for _ in uris] != []
    else:
        batch = [request("resources/subscribe", {"uri": uri}, id=n) for n, uri in enumerate(uris)]
        answer = await session.post(a, [*batch, request("tools/call", {"name": "history"}, id=99)]).whole()
        refused(answer, "audit write", None, "read")

    assert len(read) == 1


# -- a credential that becomes narrower ------------------------------------------------------------------------------


async def test_a_held_stream_ends_when_its_credential_allows_less(
    edge: Deployment, badges: Badges, a: Instance
) -> None:
    session = await a.initialize(key=WRITER)
    stream = await session.get(a).start()
    badges.worth[WRITER] = READER
    edge.clock.advance(61)
    await stream.rest()

    assert stream.ended


async def test_a_held_stream_goes_on_when_its_credential_allows_more(
    edge: Deployment, badges: Badges, a: Instance
) -> None:
    session = await a.initialize(key=READER)
    await session.request(a, "resources/subscribe", {"uri": "open://fixed"}).whole()
    stream = await session.get(a).start()
    await stream.event()
    badges.worth[READER] = WRITER
    edge.clock.advance(61)
    await touch(a, "open://fixed")
    await stream.message()
    edge.clock.advance(61)
    await touch(a, "open://fixed")

    assert (await stream.message())["params"] == {"uri": "open://fixed"}


async def test_a_streaming_call_ends_when_its_credential_allows_less(edge: Deployment, badges: Badges) -> None:
    a = edge.instance("A", auth="keys", recheck_s=0.001, lease_s=1, quiet_s=0.001)
    session = await a.initialize(key=WRITER)
    call = session.call(a, "slow")
    await edge.until(lambda: bool(edge.recorder.runs))
    badges.worth[WRITER] = NOBODY
    events = await call.rest()

    assert call.ended
    assert not any("result" in event.data for event in events)


# -- access keys -------------------------------------------------------------------------------------------------------


async def test_a_key_allows_what_its_entry_names_and_what_that_implies() -> None:
    async def scopes() -> Scopes:
        return Scopes(SCOPES)

    async def nothing(*_: object) -> Any:
        raise AssertionError("nothing is received or sent")

    def asking(key: str) -> Request:
        scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [(b"authorization", key.encode())]}
        return Request(scope, nothing, nothing)

    digests = {name: sha256(name.encode()).hexdigest() for name in ("narrow", "whole")}
    keys = BearerKeys({"narrow": digests["narrow"] + ":write", "whole": digests["whole"]}, scopes)

    narrow = await keys.authenticate(asking("Bearer narrow"))
    assert narrow == User("keys", "narrow", name="narrow", scopes=frozenset({"read", "write"}))
    assert await keys.authenticate(asking("Bearer narrow")) is narrow
    assert (await keys.authenticate(asking("Bearer whole"))).scopes is None
    assert keys.step_up(asking("Bearer narrow"), {"b", "a"}) == {
        "www-authenticate": 'Bearer error="insufficient_scope", scope="a b"',
        "cache-control": "no-store",
    }


# -- what a fork can get wrong ---------------------------------------------------------------------------------------


def broken(kind: str) -> Any:
    """A server whose declaration cannot work."""
    server: MCPServer[Any] = MCPServer("broken")
    match kind:
        case "an undeclared scope":
            declare_scopes(server, Scope("read", "read"))
            server.add_tool(lambda: None, name="odd", meta=requires("raed"))
        case "nothing declared":
            server.add_tool(lambda: None, name="odd", meta=requires("read"))
        case "an undeclared scope of a prompt":
            declare_scopes(server, Scope("read", "read"), prompts={"p": ("raed",)})
            server.prompt(name="p")(lambda: "p")
        case _:
            declare_scopes(server, Scope("read", "read"), prompts={"absent": ("read",)})
    return server


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("an undeclared scope", "'odd' requires the scope raed, which declare_scopes does not declare."),
        ("nothing declared", "'odd' requires the scope read, which declare_scopes does not declare."),
        ("an undeclared scope of a prompt", "'p' requires the scope raed, which declare_scopes does not declare."),
        ("an absent prompt", "declare_scopes names the prompt 'absent', which the server does not have."),
    ],
)
async def test_a_declaration_that_cannot_work_ends_the_start(edge: Deployment, kind: str, message: str) -> None:
    app = create_app(lambda _: broken(kind), edge.instance("A").platform)

    with pytest.raises(ConfigurationError) as refusal:
        await app.start()
    assert str(refusal.value) == message


def test_a_requirement_names_something() -> None:
    with pytest.raises(ConfigurationError):
        requires()
    assert requires("a", "b") == {"mcp-edge/scopes": ["a", "b"]}
    assert json_of(requires("a")) == b'{"mcp-edge/scopes": ["a"]}'


async def test_a_template_that_is_named_is_not_taken_for_one_before_it_that_matches_its_text() -> None:
    server = MCPServer[Any]("templates")

    @server.resource("files://{+path}", meta=requires("pub"))
    def file(path: str) -> str:
        return path

    @server.resource("files://hr/{employee}", meta=requires("hr"))
    def employee(employee: str) -> str:
        return employee

    declare_scopes(server, Scope("pub", "Files"), Scope("hr", "Personnel"))
    needed = Permissions(server, lambda _: None).needed

    def of(uri: str) -> dict[str, Any]:
        return {"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": "employee", "value": ""}}

    assert await needed("completion/complete", of("files://hr/{employee}")) == {"hr"}
    assert await needed("completion/complete", of("files://{+path}")) == {"pub"}
    assert await needed("resources/read", {"uri": "files://hr/{employee}"}) == {"pub"}  # the SDK reads the first
