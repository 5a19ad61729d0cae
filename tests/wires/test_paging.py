"""Lists come in pages, on every revision, each item once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.deployment import HANDSHAKE, Deployment, Instance, request

pytestmark = pytest.mark.anyio

LISTS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}


async def pages(a: Instance, b: Instance, method: str) -> list[dict[str, Any]]:
    """Every page, asked for in turns at two instances."""
    results: list[dict[str, Any]] = []
    while not results or "nextCursor" in results[-1]:
        params = {"cursor": results[-1]["nextCursor"]} if results else {}
        answer = await (a, b)[len(results) % 2].modern(method, params).whole()
        results.append(answer.json["result"])
    return results


@pytest.mark.parametrize("method", LISTS)
async def test_the_pages_hold_each_item_once_and_in_order(edge: Deployment, method: str) -> None:
    field, name = LISTS[method]
    whole = (await edge.instance("whole").modern(method).whole()).json["result"][field]
    paged = await pages(edge.instance("A", page_size=1), edge.instance("B", page_size=1), method)

    assert [item[name] for page in paged for item in page[field]] == [item[name] for item in whole]
    assert {len(page[field]) for page in paged} == {1}
    assert {(page["ttlMs"], page["cacheScope"]) for page in paged} == {(paged[0]["ttlMs"], paged[0]["cacheScope"])}


@pytest.mark.parametrize("version", HANDSHAKE)
async def test_a_session_pages_too(edge: Deployment, version: str) -> None:
    a = edge.instance("A", page_size=2)
    session = await a.initialize(version)
    first = (await session.post(a, request("tools/list")).whole()).json["result"]
    second = (await session.post(a, request("tools/list", {"cursor": first["nextCursor"]})).whole()).json["result"]

    assert [len(first["tools"]), len(second["tools"])] == [2, 2]
    assert not {tool["name"] for tool in first["tools"]} & {tool["name"] for tool in second["tools"]}


@pytest.mark.parametrize("cursor", ["", "x", "!", "bm9ib2R5", "ä"])
async def test_a_cursor_that_is_none_of_ours_is_an_invalid_parameter(edge: Deployment, cursor: str) -> None:
    answer = await edge.instance("A").modern("tools/list", {"cursor": cursor}).whole()

    assert (answer.status, answer.json["error"]["code"]) == (400, -32602)
