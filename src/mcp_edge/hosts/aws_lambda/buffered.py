"""Lambda's handler where responses are buffered: a Function URL's events through Mangum to the app."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

from mcp_edge.hosts.aws_lambda.answer import bounded
from mcp_edge.hosts.aws_lambda.environment import Context, CreateServer, Environment, is_request
from mcp_edge.telemetry.powertools import PowertoolsSink

TEXT = [*DEFAULT_TEXT_MIME_TYPES, "application/problem+json", "text/event-stream"]


class Function:
    """The handler of one environment, with everything that outlives an invocation."""

    def __init__(self, create_server: CreateServer, variables: Mapping[str, str]) -> None:
        self.telemetry = PowertoolsSink(variables)
        self.environment = Environment(create_server, variables, self.telemetry, streaming=False)
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
