"""The error tree is drawn as it is, and every error of it can be answered."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import TypeVar

import pytest

import mcp_edge as package
from mcp_edge import errors
from mcp_edge.auth.identity.provider import SignInRefused
from mcp_edge.auth.server.model import OAuthError
from mcp_edge.errors import (
    CallerError,
    ConfigurationError,
    EdgeError,
    InsufficientScope,
    LogLine,
    Problem,
    StoreUnavailable,
    TooMany,
    UpstreamError,
)

E = TypeVar("E", bound=EdgeError)

INTERNAL_ERROR = -32603
SOON = {"retry-after": "2"}


def test_the_drawn_tree_has_every_error_and_no_other() -> None:
    drawn = re.findall(r"── (\w+)", errors.__doc__ or "")

    assert sorted(drawn) == sorted(e.__name__ for e in _below(EdgeError))


def test_the_drawn_tree_has_the_status_of_every_mistake_of_a_caller() -> None:
    drawn = {name: int(status) for name, status in re.findall(r"── (\w+) +(\d{3})", errors.__doc__ or "")}
    own = {e.__name__: e.status for e in _below(CallerError) if "status" in vars(e) or e.__base__ is CallerError}

    assert {name: status for name, status in drawn.items() if name in own} == own


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            TooMany("Wait.", code=-32000, data={"most": 3}, headers={"retry-after": "5"}),
            Problem(429, -32000, "Wait.", {"retry-after": "5"}, {"most": 3}, request_id=7),
        ),
        (
            InsufficientScope(["write"], ["read"]),
            Problem(403, -32600, "This needs the scope write.", data={"scope": "write"}, request_id=7,
                    needed_scopes=frozenset({"read", "write"})),
        ),
        (
            OAuthError("invalid_client", "Who?", status=401, reason="unknown", headers={"a": "b"}),
            Problem(401, -32600, "Who?", {"a": "b"}, request_id=7),
        ),
        (SignInRefused("You may not.", "no member"), Problem(403, -32600, "You may not.", request_id=7)),
    ],
    ids=["too many", "scope", "oauth", "sign-in"],
)  # fmt: skip
def test_a_callers_mistake_is_told_as_it_is_and_not_logged(error: CallerError, problem: Problem) -> None:
    error.request_id = 7

    assert Problem.of(error, _no_trace) == problem


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StoreUnavailable("a secret place is locked"), "The store cannot be reached; try again."),
        (UpstreamError("The issuer did not answer."), "The issuer did not answer. Try again."),
    ],
)
def test_what_is_away_may_be_back_in_two_seconds(error: EdgeError, message: str) -> None:
    error.request_id = "a"
    line = LogLine(logging.ERROR, "request %s: %s", ("t1", error))

    assert Problem.of(error, lambda: "t1") == Problem(503, INTERNAL_ERROR, message, SOON, request_id="a", log=line)


@pytest.mark.parametrize("error", [KeyError("secret"), EdgeError("secret"), ExceptionGroup("secret", [KeyError()])])
def test_a_bug_is_told_without_detail_and_logged_with_its_traceback(error: Exception) -> None:
    line = LogLine(logging.ERROR, "request %s failed", ("t1",), error)

    assert Problem.of(error, lambda: "t1") == Problem(500, INTERNAL_ERROR, "Internal error (request t1)", log=line)


def test_the_operators_mistake_is_logged_without_traceback(caplog: pytest.LogCaptureFixture) -> None:
    problem = Problem.of(ConfigurationError("MCP_X is not set."), lambda: "t1")
    problem.write_log(logging.getLogger("owner"))

    assert (problem.status, problem.message) == (500, "Internal error (request t1)")
    assert caplog.record_tuples == [("owner", logging.ERROR, "this server is not configured: MCP_X is not set.")]
    assert caplog.records[0].exc_info is None


def _below(base: type[E]) -> set[type[E]]:
    """The subclasses of mcp-edge's own."""
    for module in walk_packages(package.__path__, "mcp_edge."):
        if not module.name.startswith("mcp_edge.hosts"):  # a host's own modules are there on that host only
            import_module(module.name)
    return {e for e in _all(base) if e.__module__.startswith("mcp_edge.")}


def _all(base: type[E]) -> Iterator[type[E]]:
    for e in base.__subclasses__():
        yield e
        yield from _all(e)


def _no_trace() -> str:
    raise AssertionError
