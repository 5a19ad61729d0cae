"""Attempts are counted by the address that Lambda states of the caller, in either mode."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_edge.auth.server.attempts import PER_WINDOW
from tests.support import authorization
from tests.support.function_url import FunctionUrl, event

from .conftest import Lambda, Mode

CLIENT = json.dumps({"redirect_uris": ["http://localhost/cb"]}).encode()


def registered(front: FunctionUrl, address: str, **headers: str) -> int:
    """The status of a registration from `address`."""
    made = event("POST", "/register", {"content-type": "application/json", **headers}, CLIENT)
    made["requestContext"]["http"]["sourceIp"] = address
    answer: Any = front.invoke(made)
    return answer["statusCode"]


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
def test_an_address_has_its_attempts_whatever_its_headers_say_and_the_next_one_its_own(
    function: Lambda, mode: Mode
) -> None:
    front = function.deploy(mode, settings=authorization.SETTINGS)
    most = PER_WINDOW["new-client"]
    forged = [{"x-forwarded-for": f"203.0.113.{n}", "cf-connecting-ip": f"203.0.113.{n}"} for n in range(most + 1)]
    assert [registered(front, "198.51.100.7", **headers) for headers in forged] == [201] * most + [429]
    assert registered(front, "198.51.100.8") == 201
