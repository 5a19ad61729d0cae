"""The client that all users share remembers none of them."""

from __future__ import annotations

import httpx
import pytest
from pytest_httpx import HTTPXMock

from mcp_edge.outbound import http_client
from mcp_edge.platform import Platform

URL = "https://api.example.com/me"


@pytest.mark.anyio
async def test_what_one_users_answer_sets_never_goes_out_with_the_next_request(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=URL, headers={"set-cookie": "session=alices; Path=/; Secure"})
    httpx_mock.add_response(url=URL)
    async with http_client.client() as client:
        await client.get(URL, headers={"authorization": "Bearer alice"})
        await client.get(URL, headers={"authorization": "Bearer bob"})
        assert len(client.cookies.jar) == 0
    assert "cookie" not in httpx_mock.get_requests()[1].headers


@pytest.mark.anyio
async def test_httpx_by_itself_would_have_sent_it(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=URL, headers={"set-cookie": "session=alices; Path=/; Secure"})
    httpx_mock.add_response(url=URL)
    async with httpx.AsyncClient() as client:
        await client.get(URL)
        await client.get(URL)
    assert httpx_mock.get_requests()[1].headers["cookie"] == "session=alices"


def test_it_is_what_a_platform_has_unless_it_says_otherwise() -> None:
    assert Platform.__dataclass_fields__["http"].default is http_client.client
