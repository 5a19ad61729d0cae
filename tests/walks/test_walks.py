"""How far a request walks through the code, and that the tracer which tells it counts what it says."""

from __future__ import annotations

import pytest

from tests.walks.bounds import BOUNDS
from tests.walks.scenarios import WALKS
from tests.walks.tracer import Step, Walk, traced

pytestmark = pytest.mark.anyio


def walk(*calls: tuple[str, str]) -> Walk:
    """A walk of these calls, each of one module by another."""
    return Walk([Step(caller, "calls", module, "called") for caller, module in calls])


@pytest.mark.parametrize("name", BOUNDS)
async def test_a_request_passes_no_more_modules_and_returns_no_more_often_than_its_bounds(name: str) -> None:
    done = await traced(WALKS[name][1])
    figures, bounds = done.figures()._asdict(), BOUNDS[name]._asdict()
    over = {figure: number for figure, number in figures.items() if number > bounds[figure]}
    assert not over, "\n".join([f"{over} of at most {bounds}", *done.path()])


def test_modules_that_form_a_tree_make_no_return() -> None:
    done = walk(("", "a"), ("a", "b"), ("b", "c"), ("a", "d"), ("d", "e"))
    assert done.figures() == (5, 3, 0, 0, 0)


def test_a_second_caller_makes_one_return_however_often_it_calls() -> None:
    done = walk(("", "a"), ("a", "b"), ("a", "c"), *[("c", "b")] * 3, ("a", "b"))
    assert done.returns() == {("c", "b")}
    assert done.figures() == (3, 2, 1, 0, 0)


def test_a_return_leads_on_where_its_module_calls_another() -> None:
    assert walk(("", "a"), ("a", "b"), ("b", "c"), ("c", "a")).figures() == (3, 3, 1, 1, 0)


def test_what_the_event_loop_begins_is_no_return() -> None:
    assert walk(("", "a"), ("a", "b"), ("", "b")).figures() == (2, 1, 0, 0, 0)


def test_a_call_back_into_a_module_that_imports_the_caller_is_upward() -> None:
    app, below = "mcp_edge.app", "mcp_edge.errors"
    assert walk(("", app), (app, below), (below, app)).upward() == {(below, app, "called")}
    assert walk(("", below), (below, app)).upward() == set()
