"""`mcp-edge serve`: settings, refusals and stores into one process, several, or stdio. It knows no route."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, redirect_stdout
from functools import cache, partial
from pathlib import Path

import anyio
import httpx

from mcp_edge.errors import ConfigurationError
from mcp_edge.hosts.cli.banner import banner, base_url
from mcp_edge.hosts.cli.loading import load
from mcp_edge.hosts.cli.own_machine import is_for_this_machine, without_proxies
from mcp_edge.hosts.exposure import exposed_names, is_loopback, refuse_short, refuse_unsafe, with_secret
from mcp_edge.outbound import http_client, public_http
from mcp_edge.platform import Drain, Platform, ProcessDrain
from mcp_edge.settings import PREFIX, Settings
from mcp_edge.storage.choose import open_store
from mcp_edge.telemetry.call_lines import LineSink
from mcp_edge.telemetry.root_logger import configure, standard_error, tell_unknown

_BACKLOG = 2048


def run(args: argparse.Namespace) -> int:
    """Serve until asked to stop.

    Raises:
        ConfigurationError: it would be unsafe or cannot work.
    """
    settings = read_settings(args, os.environ)
    if args.workers > 1 and args.reload:
        raise ConfigurationError("--reload watches one process: leave --workers out.")
    if args.workers > 1 and settings.store.startswith("memory:"):
        raise ConfigurationError("--workers need a store that processes share, which memory: is not. Use sqlite:PATH.")
    sock = None if args.listen_fd is None else socket.socket(fileno=args.listen_fd)
    refuse_short(settings)
    if not args.stdio:  # what a socket that was handed over is bound to, no option says
        refuse_unsafe(settings, sock.getsockname()[0] if sock else args.host, insecure=args.insecure)
    settings = with_secret(settings)
    configure(standard_error(), settings.log_format, settings.log_level)
    tell_unknown(os.environ)
    if args.stdio:
        anyio.run(_over_stdio, args.app, settings)
        return 0
    if sock is not None:
        anyio.run(_over_http, args, settings, sock, args.parent_fd)
        return 0
    return _listen(args, settings)


def read_settings(args: argparse.Namespace, env: Mapping[str, str]) -> Settings:
    """The settings in `env`, with the options of the command line over them.

    Raises:
        ConfigurationError: a value cannot be read.
    """
    options = {"STORE": args.store, "AUTH": args.auth, "LOG_FORMAT": args.log_format}
    given = {PREFIX + name: value for name, value in options.items() if value is not None}
    return Settings.from_env({**env, **given, **({PREFIX + "DRAIN_S": "0"} if args.reload else {})})


def _listen(args: argparse.Namespace, settings: Settings) -> int:
    """Bind, say so, and serve here or in workers."""
    sock = listener(args.host, args.port)
    text = banner(args.app, settings, args.host, sock.getsockname()[1])
    if args.workers == 1 and not args.reload:
        anyio.run(_over_http, args, settings, sock, None, text)
        return 0
    print(text, flush=True)
    if args.reload:
        from mcp_edge.hosts.cli.reload import Reloader

        return Reloader(sys.argv[1:], sock, Path.cwd()).run()
    from mcp_edge.hosts.cli.supervisor import Supervisor

    return Supervisor(sys.argv[1:], sock, count=args.workers, drain_s=settings.drain_s).run()


def listener(host: str, port: int) -> socket.socket:
    """The socket that clients connect to.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as e:
        raise ConfigurationError(f"Cannot listen on {host} port {port}: {e.strerror}.") from e
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, and without it the body of each
    # answer but the first waits 40 ms for the client's delayed acknowledgement of the head.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _over_http(
    args: argparse.Namespace,
    settings: Settings,
    sock: socket.socket,
    parent_fd: int | None,
    announcement: str = "",
) -> None:
    from mcp_edge.app import create_app
    from mcp_edge.hosts.cli.server import EdgeServer

    host, port, *_ = sock.getsockname()
    if settings.public_url is None and is_loopback(host) and not exposed_names(settings):
        settings = settings.model_copy(update={"public_url": base_url(settings, host, port)})
    server = load(args.app)(settings)  # now, so that its errors end the process rather than the first request
    drain = ProcessDrain()
    async with _platform(settings, drain) as platform:
        asgi = create_app(lambda _: server, platform)
        await asgi.start()  # in this task, which outlives every request: a lifespan may hold a task group
        try:
            if announcement:
                print(announcement, flush=True)
            guarded = without_proxies(asgi) if is_for_this_machine(settings) and not args.insecure else asgi
            await EdgeServer(guarded, platform, drain, worker_of=parent_fd).serve(sockets=[sock])
        finally:
            await asgi.stop()


async def _over_stdio(app: str, settings: Settings) -> None:
    from mcp_edge.hosts.cli.stdio import serve_stdio

    with redirect_stdout(sys.stderr):  # what an import or a constructor prints is not for the client
        server = load(app)(settings)
    async with _platform(settings, ProcessDrain()) as platform:
        await serve_stdio(server, platform)


@asynccontextmanager
async def _platform(settings: Settings, drain: Drain) -> AsyncGenerator[Platform]:
    """This process as a host; what it opened is closed at the end."""
    records, atomics = open_store(settings.store)
    clients: list[httpx.AsyncClient] = []

    @cache
    def client(make: Callable[[], httpx.AsyncClient]) -> httpx.AsyncClient:  # at first use: it reads the certificates
        clients.append(make())
        return clients[-1]

    sink = LineSink(standard_error(), settings.log_format, level=settings.log_level)
    try:
        await records.get("start")  # a store that cannot be opened ends the process, not the first request
        yield Platform(
            settings=settings,
            records=records,
            atomics=atomics,
            telemetry=sink,
            drain=drain,
            http=partial(client, http_client.client),
            http_public=partial(client, public_http.client),
        )
    finally:
        with anyio.CancelScope(shield=True):
            for opened in clients:
                await opened.aclose()
            await records.aclose()
            await atomics.aclose()
