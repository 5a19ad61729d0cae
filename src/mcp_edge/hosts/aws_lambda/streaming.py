"""Lambda's runtime loop where responses are streamed: invocations from the Runtime API to the app, bytes as they come.

AWS's own Python runtime cannot stream, so this takes its place: `AWS_LAMBDA_EXEC_WRAPPER` runs `run.sh`, and that this.
One invocation at a time, one connection to the Runtime API at a time. It knows no MCP and no route.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html, "Response streaming".
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mangum.handlers import HTTPGateway
from mangum.types import LambdaConfig
from starlette.types import Message, Scope

from mcp_edge.hosts.aws_lambda.environment import CreateServer, Environment, is_request
from mcp_edge.hosts.aws_lambda.runtime_api import Reply, RuntimeApi
from mcp_edge.telemetry.powertools import PowertoolsSink
from mcp_edge.text.ascii import lowered

if TYPE_CHECKING:
    from io import TextIOWrapper

log = logging.getLogger(__name__)

CONFIG: LambdaConfig = {"api_gateway_base_path": "/", "text_mime_types": [], "exclude_headers": []}
STREAM = (
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Content-Type", "application/vnd.awslambda.http-integration-response"),
    ("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"),
)
RESERVE_S = 0.1
# What follows was seen by others who stream through Function URLs; AWS documents none of it.
PUSH = b":\n"
"""Function URLs hold each chunk back until the next one comes. So a line of comment, which says nothing, follows each
event."""
FILL = b"\n"
"""The body of a response without any: in some accounts a Function URL never ends one that is empty."""
BODILESS = frozenset({204, 304})


class Invocation:
    """One invocation: its event, and the context that the app is shown."""

    def __init__(self, reply: Reply) -> None:
        self.aws_request_id = reply.headers["lambda-runtime-aws-request-id"]
        self._deadline_ms = int(reply.headers["lambda-runtime-deadline-ms"])
        self.event: Any = json.loads(reply.body)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout."""
        return max(0, self._deadline_ms - int(time.time() * 1000))


class Response:
    """The ASGI side of one invocation: each message goes to the Runtime API at once."""

    def __init__(self, api: RuntimeApi, invocation: Invocation, body: bytes) -> None:
        self._api = api
        self._invocation = invocation
        self._body: bytes | None = body
        self._ended = asyncio.Event()
        self._after, self._fill = b"", FILL
        self.started = False

    async def receive(self) -> Message:
        """The request; later its end. Lambda does not tell when a client has left."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Pass a message on, and wait while Lambda takes nothing more."""
        if self._ended.is_set():
            return
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if body:
            self._fill = b""
            await self._api.chunk(body)
            if more and self._after:
                await self._api.chunk(self._after)
        if not more:
            if self._fill:
                await self._api.chunk(self._fill)
            self._ended.set()
            await self._api.end()

    async def _begin(self, start: Message) -> None:
        self.started = True
        headers = {lowered(name): value for name, value in start["headers"]}
        if self._invocation.event["requestContext"]["http"]["method"] == "HEAD" or start["status"] in BODILESS:
            self._fill = b""
        await self._api.begin(f"invocation/{self._invocation.aws_request_id}/response", STREAM, prelude(start))
        if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._after, self._fill = PUSH, b""
            await self._api.chunk(PUSH)  # the head itself is a chunk

    async def finish(self, error: BaseException | None) -> None:
        """Close the invocation, with the error of an app that raised or left its response unfinished."""
        if not self.started:
            await report(self._api, f"invocation/{self._invocation.aws_request_id}/error", error or _unfinished())
            return
        if not self._ended.is_set():
            self._ended.set()
            await self._api.end(_trailers(error or _unfinished()))
        await self._api.acknowledged()
        self._api.drop()  # "close the underlying connection after it has successfully written the response"


def prelude(start: Message) -> bytes:
    """Status, headers and cookies, and the eight NUL that part them from the body. Lambda sends that in chunks, without
    a length."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for raw_name, raw_value in start["headers"]:
        name, value = lowered(raw_name.decode("latin-1")), raw_value.decode("latin-1")
        if name == "set-cookie":
            cookies.append(value)
        elif name != "content-length":
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return json.dumps({"statusCode": start["status"], "headers": headers, "cookies": cookies}).encode() + b"\0" * 8


async def serve(environment: Environment, telemetry: PowertoolsSink, api: RuntimeApi) -> None:
    """Take invocations for ever."""
    while True:
        reply = await api.request("GET", "invocation/next")
        invocation = Invocation(reply)
        os.environ["_X_AMZN_TRACE_ID"] = reply.headers.get("lambda-runtime-trace-id", "")
        telemetry.invocation(invocation.aws_request_id)
        if is_request(invocation.event):
            await _respond(environment, api, invocation)
        else:
            answer = json.dumps(await environment.other(invocation.event)).encode()
            await api.request("POST", f"invocation/{invocation.aws_request_id}/response", (), answer)


async def _respond(environment: Environment, api: RuntimeApi, invocation: Invocation) -> None:
    request = HTTPGateway(invocation.event, invocation, CONFIG)  # pyright: ignore[reportArgumentType] # has what is read
    response = Response(api, invocation, request.body)
    try:
        # A little of the time is left, because a timeout of Lambda's own would kill the environment.
        async with asyncio.timeout(invocation.get_remaining_time_in_millis() / 1000 - RESERVE_S):
            await response.finish(await _run(environment, request.scope, response, invocation))
    except (OSError, EOFError) as e:
        log.warning("invocation %s could not be closed: %r", invocation.aws_request_id, e)
        api.drop()


async def _run(environment: Environment, scope: Scope, response: Response, invocation: Invocation) -> Exception | None:
    """Serve the request; the exception that no part of the app expected, if there was one."""
    try:
        await environment(scope, response.receive, response.send)
    except Exception as e:  # the boundary: the environment outlives any bug of one invocation
        log.exception("invocation %s failed", invocation.aws_request_id)
        return e
    return None


def _unfinished() -> Exception:
    return RuntimeError("The app did not finish its response.")


def _error(e: BaseException) -> bytes:
    stack = traceback.format_exception(e)
    return json.dumps({"errorMessage": str(e), "errorType": type(e).__name__, "stackTrace": stack}).encode()


def _trailers(e: BaseException) -> list[tuple[str, str]]:
    return [
        ("Lambda-Runtime-Function-Error-Type", type(e).__name__),
        ("Lambda-Runtime-Function-Error-Body", base64.b64encode(_error(e)).decode()),
    ]


async def report(api: RuntimeApi, path: str, e: BaseException) -> None:
    """Tell Lambda of an error for which there is no response."""
    await api.request("POST", path, [("Lambda-Runtime-Function-Error-Type", type(e).__name__)], _error(e))


async def run(create_server: CreateServer, variables: Mapping[str, str]) -> None:
    """The life of one environment: init, the snapshot if there is one, invocations.

    Raises:
        Exception: init failed; Lambda was told and ends the environment.
    """
    api = RuntimeApi(variables["AWS_LAMBDA_RUNTIME_API"])
    try:
        telemetry = PowertoolsSink(variables)
        environment = Environment(create_server, variables, telemetry, streaming=True)
    except Exception as e:
        await report(api, "init/error", e)
        api.drop()
        raise
    gc.freeze()
    gc.enable()
    if variables.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        api.drop()  # no connection is alive in a snapshot
        await api.request("GET", "restore/next")
        api.drop()
    await serve(environment, telemetry, api)


def main(create_server: CreateServer) -> None:
    """Run the environment until Lambda ends it."""
    # Lambda reads a pipe: what waits in a buffer is frozen with the environment, or lost with it.
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    asyncio.run(run(create_server, os.environ))
