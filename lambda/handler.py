"""Lambda's entry where responses are buffered: `Handler` in template.yaml names it. It has no rule."""

from __future__ import annotations

import gc

gc.disable()  # imports leave no garbage: a tenth of a cold start would be the collector's search for it

import os
from functools import cache
from typing import Any

from mcp_edge.hosts.aws_lambda.buffered import Function
from mcp_edge.hosts.aws_lambda.environment import Context
from my_server.server import create_server


@cache
def function() -> Function:
    """The one of this environment."""
    return Function(create_server, os.environ)


def handler(event: Any, context: Context) -> dict[str, Any]:
    """Answer one invocation."""
    return function()(event, context)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    function()  # the init phase has the most CPU, and SnapStart keeps what is made in it
gc.freeze()
gc.enable()
