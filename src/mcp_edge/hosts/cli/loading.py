"""`--app module:function`: the server's constructor.

An IDE starts servers in the folder of whatever project is open. So the current folder is looked at last, and for the
app that the command line names alone: nothing in it may stand for a module that is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cli.main import DEFAULT_APP
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
        raise ConfigurationError(f"--app {app}: write MODULE:FUNCTION, such as {DEFAULT_APP}.")
    if app != DEFAULT_APP and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
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
