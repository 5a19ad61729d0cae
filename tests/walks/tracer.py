"""A tracer of calls between modules, and what they amount to. The package's docstring defines the figures."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import NamedTuple

from tests.walks.product import height, names

_RESUMED = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
"""Flags of code whose frames are entered time after time."""

Scenario = Callable[[], AbstractAsyncContextManager[Callable[[], Awaitable[None]]]]
"""Prepares what a walk needs, and yields the walk itself, which can be done again."""


class Figures(NamedTuple):
    """What a walk amounts to."""

    modules: int
    walked: int
    returns: int
    leading_on: int
    upward: int


class Step(NamedTuple):
    """A call from one module into another."""

    caller: str
    """The calling module; empty where the event loop began the task."""
    calling: str
    """The function that calls."""
    module: str
    function: str


@dataclass
class Walk:
    """The calls between modules, in the order in which they were made."""

    steps: list[Step] = field(default_factory=list[Step])

    def entered(self) -> dict[str, str]:
        """Each module in the order of entering, with the module that entered it first."""
        first: dict[str, str] = {}
        for step in self.steps:
            first.setdefault(step.module, step.caller)
        return first

    def returns(self) -> set[tuple[str, str]]:
        """Calling and entered module, where another one had entered the module before."""
        first = self.entered()
        return {(s.caller, s.module) for s in self.steps if s.caller and first[s.module] != s.caller}

    def upward(self) -> set[tuple[str, str, str]]:
        """Calling module, entered module and function, where the entered module is the higher one."""
        met = set[str]()
        found = set[tuple[str, str, str]]()
        for step in self.steps:
            if step.module in met and _is_upward(step):
                found.add((step.caller, step.module, step.function))
            met.add(step.module)
        return found

    def figures(self) -> Figures:
        """All five."""
        returns, callers = self.returns(), {step.caller for step in self.steps}
        leading_on = sum(module in callers for _, module in returns)
        walked = sum(module in callers for module in self.entered())
        return Figures(len(self.entered()), walked, len(returns), leading_on, len(self.upward()))

    def path(self) -> list[str]:
        """A line for each step, repetitions left out: what kind it is, what it calls, and from where."""
        lines: list[str] = []
        met, pairs = set[str](), set[tuple[str, str]]()
        for step in dict.fromkeys(self.steps):
            kind = "enters" if step.module not in met else "again"
            if kind == "again" and step.caller and (step.caller, step.module) not in pairs:
                kind = "returns"
            if kind != "enters" and _is_upward(step):
                kind += ", upward"
            met.add(step.module)
            pairs.add((step.caller, step.module))
            whence = f"{_short(step.caller)}.{step.calling}" if step.caller else "the event loop"
            lines.append(f"{kind:16} {_short(step.module)}.{step.function}  <- {whence}")
        return lines


async def traced(scenario: Scenario) -> Walk:
    """Do a walk twice, and trace it the second time."""
    async with scenario() as go:
        await go()
        with _recording() as walk:
            await go()
    return walk


@contextmanager
def _recording() -> Generator[Walk]:
    """Record the calls between modules in this thread. On the stores that the walks use, no other thread runs any."""
    walk = Walk()
    before = sys.getprofile()
    sys.setprofile(_Recorder(walk))
    try:
        yield walk
    finally:
        sys.setprofile(before)


class _Recorder:
    """A profile function. A coroutine is called once, however often it is resumed."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._files = names()
        self._modules: dict[CodeType, str] = {}
        self._begun: set[FrameType] = set()
        """Held, so that no other frame gets the identity of one that is over."""

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if event != "call" or not (module := self._module(frame.f_code)):
            return
        if frame.f_code.co_flags & _RESUMED:
            if frame in self._begun:
                return
            self._begun.add(frame)
        caller = frame.f_back
        while caller is not None and not self._module(caller.f_code):
            caller = caller.f_back
        code = None if caller is None else caller.f_code
        came_from, calling = ("", "") if code is None else (self._module(code), code.co_qualname)
        if came_from != module:
            self._walk.steps.append(Step(came_from, calling, module, frame.f_code.co_qualname))

    def _module(self, code: CodeType) -> str:
        """The product's module that `code` belongs to; empty for any other code."""
        found = self._modules.get(code)
        if found is None:
            found = self._modules[code] = self._files.get(code.co_filename, "")
        return found


def _is_upward(step: Step) -> bool:
    return bool(step.caller) and height(step.module) > height(step.caller)


def _short(module: str) -> str:
    return module.removeprefix("mcp_edge.")
