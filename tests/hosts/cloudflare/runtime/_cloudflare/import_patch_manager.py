"""Contexts in which the Workers SDK has some modules executed, and calls that it blocks until the first request."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Context = Callable[[Any], AbstractContextManager[None]]

_patches: dict[str, Context] = {}
_before_first_request: dict[str, Callable[[Any], None]] = {}
_blocked: dict[str, Any] = {}


def register_exec_patch(name: str) -> Callable[[Context], Context]:
    """Execute the module `name` inside the decorated context."""

    def register(context: Context) -> Context:
        _patches[name] = context
        return context

    return register


register_create_patch = register_exec_patch


def register_before_first_request(name: str) -> Callable[[Any], Any]:
    """Call the decorated function with the module `name`, if it was imported, before the first request."""

    def register(handler: Any) -> Any:
        _before_first_request[name] = handler
        return handler

    return register


def register_after_snapshot(name: str) -> Callable[[Any], Any]:
    """There are no snapshots here."""
    del name
    return lambda handler: handler


def block_calls(module: Any, *, allowlist: tuple[str, ...] = ()) -> None:
    """Refuse calls of the module's functions until the first request."""
    _blocked[module.__name__] = module
    sys.modules[module.__name__] = _Blocked(module, allowlist)  # type: ignore[assignment]


class _Blocked:
    def __init__(self, module: Any, allowed: tuple[str, ...]) -> None:
        self.__dict__.update(_module=module, _allowed=allowed)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if not callable(found) or name in self._allowed or not _blocked:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if _blocked:
                raise RuntimeError(f"Cannot use {self._module.__name__}.{name}() outside of request context.")
            return found(*args, **kwargs)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)


class _Finder:
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        context = _patches.get(name)
        if context is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader, context)
                return spec
        return None


class _Loader:
    def __init__(self, loader: Any, context: Context) -> None:
        self._loader = loader
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        with self._context(module):
            self._loader.exec_module(module)


_finder = _Finder()


def install() -> None:
    """Begin the imports."""
    sys.meta_path.insert(0, _finder)


def before_first_request() -> None:
    """End the imports: what was blocked may be called from now on."""
    sys.meta_path.remove(_finder)
    sys.modules.update(_blocked)
    _blocked.clear()
    for name, handler in _before_first_request.items():
        if name in sys.modules:
            handler(sys.modules[name])
