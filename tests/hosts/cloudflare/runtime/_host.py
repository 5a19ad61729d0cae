"""The Python half of the host: the search path, the import of the Worker, and the call of its entry points.

It does what workerd's own Python does around a Worker; it knows nothing of the Worker.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from inspect import isawaitable
from site import addsitedir
from typing import Any

from _cloudflare import import_patch_manager
from _cloudflare.allow_entropy import allow_bad_entropy_calls


@import_patch_manager.register_exec_patch("random")
@contextmanager
def _random(random: Any) -> Any:
    with allow_bad_entropy_calls(10):
        yield
    import_patch_manager.block_calls(random, allowlist=("Random", "SystemRandom"))


@import_patch_manager.register_before_first_request("random")
def _seed(random: Any) -> None:
    random.seed()


def load(packages: str, pid: int) -> Any:
    """Import the Worker's main module as workerd does: after the `.pth` files of its packages.

    `pid` is what `os.getpid` says, so that a tool can tell which isolate it runs in.
    """
    os.getpid = lambda: pid
    import_patch_manager.install()
    addsitedir(packages)
    return importlib.import_module("entry")


def ready() -> None:
    """The imports are over."""
    import_patch_manager.before_first_request()


async def call(instance: Any, name: str, *args: Any) -> Any:
    """Call an entry point with converted arguments, and convert its result."""
    from pyodide.code import relaxed_call
    from workers import python_from_rpc, python_to_rpc

    result = relaxed_call(getattr(instance, name), *map(python_from_rpc, args))
    return python_to_rpc(await result if isawaitable(result) else result)


def modules() -> int:
    """How many modules are loaded, for the report."""
    return len(sys.modules)
