"""What a Lambda invocation costs: CPU per event, cold start and size of the artefact, DynamoDB operations per call.

Everybody gets the same Function URL event in one process, in turns; nothing here is Lambda itself.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, process_time_ns
from typing import Any

from benchmarks.report import Part, Row, Target, at_most, progress
from benchmarks.wire import Answer, Era, Post, Request, check, prepare

ROOT = Path(__file__).resolve().parent.parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CALLS = 100
NULL = Path(os.devnull).open("w")  # noqa: SIM115 # loggers keep it: it stays open
Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
SETTINGS = {
    "MCP_AUTH": "none",
    "MCP_SECRET_KEYS": "Zt8mQw3nLx7kVb2pRy6cHd9fJs4gTa5e",
    "MCP_STORE": "memory:",
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
}


class Context:
    """What Lambda passes beside the event."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


# -- the contenders --------------------------------------------------------------------------------------------------


def sdk_mangum() -> Handler:
    """The official SDK, stateless, under Mangum. Its session manager runs once, so each event gets a new app."""
    from mangum import Mangum

    from benchmarks.echo import create_server

    server = create_server()

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        app = server.streamable_http_app(json_response=True, stateless_http=True, host="bench.example")
        return Mangum(app, lifespan="on")(event, context)

    return handler


def awslabs() -> Handler:
    """AWS Labs' handler: tools only, revision 2024-11-05, no validation of arguments."""
    from awslabs.mcp_lambda_handler import MCPLambdaHandler  # pyright: ignore[reportMissingImports] # only here

    server = MCPLambdaHandler(name="bench", version="1")

    @server.tool()
    def echo(text: str) -> str:
        """Answer with the text."""
        return text

    return server.handle_request


def ours(*, powertools: bool) -> Handler:
    """lambda/handler.py as it is deployed, with the bench's server and its store in memory."""
    from benchmarks.echo import create_server
    from mcp_edge.hosts.aws_lambda.buffered import Function
    from mcp_edge.hosts.aws_lambda.environment import Environment
    from mcp_edge.platform import Silent

    function = Function(create_server, SETTINGS)
    if powertools:
        return function
    function.http.app = Environment(create_server, SETTINGS, Silent(), streaming=False)
    return function.http


CONTENDERS: dict[str, tuple[str, Era, Callable[[], Handler]]] = {
    "sdk": ("SDK + Mangum, 2025-11-25", "handshake", sdk_mangum),
    "awslabs": ("awslabs.mcp_lambda_handler, 2024-11-05", "handshake", awslabs),
    "handshake": ("mcp-edge, handshake, without Powertools", "handshake", lambda: ours(powertools=False)),
    "modern": ("mcp-edge, modern, without Powertools", "modern", lambda: ours(powertools=False)),
    "handshake-powertools": ("mcp-edge, handshake, with Powertools", "handshake", lambda: ours(powertools=True)),
    "modern-powertools": ("mcp-edge, modern, with Powertools", "modern", lambda: ours(powertools=True)),
}


def event_of(request: Request) -> dict[str, Any]:
    """A Function URL's event, payload format 2.0."""
    host = "bench.example"
    return {
        "version": "2.0",
        "rawPath": "/mcp",
        "rawQueryString": "",
        "headers": {**request.headers, "host": host, "x-forwarded-proto": "https", "x-forwarded-port": "443"},
        "requestContext": {
            "domainName": host,
            "http": {"method": "POST", "path": "/mcp", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
        },
        "body": request.body.decode(),
        "isBase64Encoded": False,
    }


def _poster(handler: Handler) -> Post:
    async def post(request: Request) -> Answer:
        found = handler(event_of(request), Context())
        headers = {name.lower(): value for name, value in found.get("headers", {}).items()}
        return Answer(found["statusCode"], headers, found.get("body", "").encode())

    return post


def _driven(job: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits, outside of any event loop: the handlers run loops of their own."""
    try:
        job.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits")


# -- CPU -------------------------------------------------------------------------------------------------------------


def _cpu(seconds: float) -> tuple[list[Row], dict[str, Any]]:
    handlers: dict[str, tuple[Handler, dict[str, Any]]] = {}
    costs: dict[str, list[float]] = {}
    rows: list[Row] = []
    with redirect_stdout(NULL):
        asyncio.set_event_loop(asyncio.new_event_loop())
        for name, (label, era, build) in CONTENDERS.items():
            try:
                handler = build()
                request = _driven(prepare(era, _poster(handler), {}))
                check(_driven(_poster(handler)(request)))
                handlers[name], costs[name] = (handler, event_of(request)), []
            except Exception as e:
                rows.append(Row("lambda", label, "not run", f"{type(e).__name__}: {str(e)[:120]}"))
        gc.collect()
        gc.freeze()
        deadline, order = monotonic() + seconds, list(handlers)
        while monotonic() < deadline or len(costs[order[0]]) < 8:
            for name in order:
                handler, event = handlers[name]
                gc.collect()
                began = process_time_ns()
                for _ in range(CALLS):
                    handler(event, Context())
                costs[name].append((process_time_ns() - began) / CALLS / 1000)
            order.reverse()
        gc.unfreeze()
    data: dict[str, Any] = {}
    for name, found in costs.items():
        low, mid, high = quantiles(found, n=4)
        ratio = median(cost / peer for cost, peer in zip(found, costs["sdk"], strict=True)) if "sdk" in costs else None
        data[name] = {"cpu_us": mid, "ratio": ratio}
        against = f"{ratio:.2f} x SDK + Mangum" if ratio is not None and name != "sdk" else ""
        rows.append(Row("lambda", CONTENDERS[name][0], f"{mid:.0f} µs", f"{low:.0f} - {high:.0f}", against))
    return rows, data


# -- cold start and size ----------------------------------------------------------------------------------------------

COLD = """
import sys, time
began = time.perf_counter(), time.process_time()
sys.path.insert(0, sys.argv[1])
import json, handler
class Context:
    aws_request_id = "cold"
    def get_remaining_time_in_millis(self): return 30000
found = handler.handler(json.loads(sys.argv[2]), Context())
assert found["statusCode"] == 200, found
print(json.dumps([(time.perf_counter() - began[0]) * 1000, (time.process_time() - began[1]) * 1000]), file=sys.stderr)
"""
PEER = """
from mangum import Mangum
from mcp.server.mcpserver import MCPServer
server = MCPServer("bench", log_level="WARNING")
@server.tool()
async def echo(text: str) -> str:
    return text
def handler(event, context):
    app = server.streamable_http_app(json_response=True, stateless_http=True, host="bench.example")
    return Mangum(app, lifespan="on")(event, context)
"""


def _build(folder: Path) -> dict[str, Path]:
    """Our artefact, and the SDK's app as `sam build` makes one for Python, without byte code; and with it."""
    made = {name: folder / name for name in ("ours", "sdk", "sdk-compiled")}
    bin_ = Path(sys.executable).parent
    arch = "arm64" if os.uname().machine in ("arm64", "aarch64") else "x86_64"
    for path in made.values():
        path.mkdir()
    subprocess.run(
        ["make", "-s", "-f", "lambda/Makefile", f"LAMBDA_PYTHON={PYTHON}", f"LAMBDA_ARCH={arch}",
         f"LAMBDA_INTERPRETER={sys.executable}", f"UV={bin_ / 'uv'}"],
        cwd=ROOT, env={**os.environ, "ARTIFACTS_DIR": str(made["ours"])}, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run(
        [str(bin_ / "uv"), "pip", "install", "--quiet", "--target", str(made["sdk"]), "--python", sys.executable,
         "--link-mode", "copy", "--no-deps", "--require-hashes", "-r", "requirements/lambda.txt"],
        cwd=ROOT, check=True,
    )  # fmt: skip
    (made["sdk"] / "handler.py").write_text(PEER)
    shutil.copytree(made["sdk"], made["sdk-compiled"], dirs_exist_ok=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(made["sdk-compiled"])], check=True)
    return made


def _cold(made: dict[str, Path], count: int) -> tuple[list[Row], dict[str, Any]]:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}},
    }
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    event = json.dumps(event_of(Request(headers, json.dumps(request).encode())))
    env = {"PATH": os.environ["PATH"], **SETTINGS}
    kinds = {name: (path, env) for name, path in made.items()}
    found: dict[str, list[list[float]]] = {}
    with table() as variables:
        kinds["ours-dynamodb"] = (made["ours"], {**env, **variables})
        for turn in range(count + 1):  # the first turn reads the files from the disk
            for name, (path, given) in kinds.items():
                command = [sys.executable, "-S", "-B", "-E", "-c", COLD, str(path), event]
                done = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)
                if done.returncode:
                    raise RuntimeError(done.stderr[-300:])
                if turn:
                    found.setdefault(name, []).append(json.loads(done.stderr.strip().splitlines()[-1]))
    rows: list[Row] = []
    data: dict[str, Any] = {}
    labels = {
        "ours": "cold start of the artefact over memory",
        "ours-dynamodb": "cold start of the artefact over DynamoDB, without TLS",
        "sdk": "cold start of SDK + Mangum, sam build",
        "sdk-compiled": "cold start of SDK + Mangum, with byte code",
    }
    peer = [sample[1] for sample in found["sdk"]]
    ratios = {name: median(a[1] / b for a, b in zip(samples, peer, strict=True)) for name, samples in found.items()}
    for name, samples in found.items():
        wall, cpu = [sample[0] for sample in samples], [sample[1] for sample in samples]
        against = f"{ratios[name]:.2f} x the SDK app's CPU" if name != "sdk" else ""
        spread = f"{min(cpu):.0f} - {max(cpu):.0f} ms CPU"
        rows.append(Row("lambda", labels[name], f"{median(wall):.0f} ms, {median(cpu):.0f} ms CPU", spread, against))
        data[f"cold-{name}"] = {"wall_ms": median(wall), "cpu_ms": median(cpu)}
    data["cold-ratio"] = ratios["ours"]
    data["cold-ratio-dynamodb"] = ratios["ours-dynamodb"]
    size = _zipped(made["ours"])
    data["zipped_mb"] = size
    rows.append(Row("lambda", "artefact, zipped", f"{size:.1f} MB"))
    return rows, data


def _zipped(folder: Path) -> float:
    with tempfile.TemporaryFile() as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in folder.rglob("*"):
                archive.write(path, path.relative_to(folder))
        return target.tell() / 1e6


@contextmanager
def table() -> Iterator[dict[str, str]]:
    """An emulated table: what a function over it is told."""
    from mcp_edge.storage.dynamodb_table import create_table
    from tests.support.ministack import CREDENTIALS, ministack

    os.environ.update(CREDENTIALS)
    with ministack("dynamodb") as url:
        asyncio.new_event_loop().run_until_complete(create_table("bench", endpoint_url=url))
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL_DYNAMODB": url, "MCP_STORE": "dynamodb:bench"}


# -- DynamoDB ----------------------------------------------------------------------------------------------------------


@contextmanager
def _counted(operations: list[str]) -> Iterator[None]:
    from mcp_edge.storage.dynamodb_client import DynamoDBClient

    real = DynamoDBClient.call

    async def call(self: Any, operation: str, body: Any, **more: Any) -> dict[str, Any]:
        operations.append(operation)
        return await real(self, operation, body, **more)

    DynamoDBClient.call = call
    try:
        yield
    finally:
        DynamoDBClient.call = real


def _operations() -> tuple[list[Row], dict[str, Any]]:
    """What one call reads and writes, on an emulated table."""
    operations: list[str] = []
    handler: Any = importlib.import_module("handler")
    rows: list[Row] = []
    data: dict[str, Any] = {}
    with table() as variables, redirect_stdout(NULL):
        os.environ.update(variables)
        function = handler.Function({**SETTINGS, **variables})
        with _counted(operations):
            for era in ("handshake", "modern"):
                post = _poster(function)
                request = _driven(prepare(era, post, {}))
                check(_driven(post(request)))
                operations.clear()
                check(_driven(post(request)))
                data[f"operations-{era}"] = list(operations)
                what = ", ".join(operations) or "none"
                rows.append(Row("lambda", f"DynamoDB operations of a {era} call", str(len(operations)), what))
    return rows, data


# -- all ---------------------------------------------------------------------------------------------------------------


def run(*, quick: bool) -> Part:
    """Measure whatever can be measured here."""
    progress("lambda: CPU per invocation")
    rows, data = _cpu(5 if quick else 30)
    with tempfile.TemporaryDirectory() as folder:
        for what, measure in (
            ("cold start", lambda: _cold(_build(Path(folder)), 3 if quick else 9)),
            ("DynamoDB operations", _operations),
        ):
            progress(f"lambda: {what}")
            try:
                more, found = measure()
                rows += more
                data |= found
            except Exception as e:
                rows.append(Row("lambda", what, "not run", f"{type(e).__name__}: {str(e)[:160]}"))
    return Part(rows, _targets(data), data)


def _targets(data: dict[str, Any]) -> list[Target]:
    def of(name: str, what: str) -> float | None:
        return data.get(name, {}).get(what)

    reads = data.get("operations-handshake")
    return [
        at_most("CPU of a handshake invocation", of("handshake", "ratio"), 0.35, "x SDK + Mangum"),
        at_most("CPU of a modern invocation", of("modern", "ratio"), 0.35, "x SDK + Mangum"),
        at_most("CPU of a cold start, memory", data.get("cold-ratio"), 0.6, "x the SDK app's"),
        at_most("CPU of a cold start, DynamoDB", data.get("cold-ratio-dynamodb"), 0.6, "x the SDK app's"),
        at_most("artefact", data.get("zipped_mb"), 17, "MB", digits=1),
        at_most("DynamoDB operations of a handshake call", None if reads is None else len(reads), 1, "", digits=0),
    ]
