"""Lambda's handler where responses are buffered: a Function URL's events through Mangum to the app."""

from __future__ import annotations

import gc

gc.disable()  # imports leave no garbage: a tenth of a cold start would be the collector's search for it

import asyncio
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

from answer import bounded
from environment import Context, Environment, is_request
from mcp_edge.telemetry.powertools import PowertoolsSink

TEXT = [*DEFAULT_TEXT_MIME_TYPES, "application/problem+json", "text/event-stream"]


class Function:
    """The handler of one environment, with everything that outlives an invocation."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.telemetry = PowertoolsSink(variables)
        self.environment = Environment(variables, self.telemetry, streaming=False)
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)  # Mangum runs each request on the current one
        self.http = Mangum(self.environment, lifespan="off", text_mime_types=TEXT)

    def __call__(self, event: Any, context: Context) -> dict[str, Any]:
        """Answer one invocation."""
        self.telemetry.invocation(context.aws_request_id)
        if is_request(event):
            answer = self.http(event, context)  # pyright: ignore[reportArgumentType] # Mangum's context has more members
            return bounded(answer, context.aws_request_id)
        return self.loop.run_until_complete(self.environment.other(event))


@cache
def function() -> Function:
    """The one of this environment."""
    return Function(os.environ)


def handler(event: Any, context: Context) -> dict[str, Any]:
    """What `Handler` in template.yaml names."""
    return function()(event, context)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    function()  # the init phase has the most CPU, and SnapStart keeps what is made in it
gc.freeze()
gc.enable()
