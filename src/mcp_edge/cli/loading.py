"""`--app module:function`: the server's constructor, imported as `python -m` would from the current folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from mcp_edge.errors import ConfigurationError
from mcp_edge.settings import Settings

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def load(app: str) -> Callable[[Settings], MCPServer[Any]]:
    """The function that `app` names. What its module raises while it is imported is raised here too.

    Raises:
        ConfigurationError: there is no such module or function.
    """
    module_name, colon, name = app.partition(":")
    if not (module_name and colon and name):
        raise ConfigurationError(f"--app {app}: write MODULE:FUNCTION, such as my_server.server:create_server.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
            raise  # the module is there and imports something that is not: its traceback tells where
        raise ConfigurationError(f"--app {app}: there is no module {e.name} here ({os.getcwd()}).") from e
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigurationError(f"--app {app}: {module_name} has no function {name}.")
    return cast("Callable[[Settings], MCPServer[Any]]", function)
