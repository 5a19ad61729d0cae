"""The command line's grammar. A command's code is imported when it runs: `mcp-edge settings` loads no server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from mcp_edge.errors import ConfigurationError

DEFAULT_APP = "my_server.server:create_server"
"""The fork's own server, which is installed with it."""
EXIT_REFUSED = 2
"""Exit code of a command line or settings that cannot work."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process."""
    args = _parser().parse_args(argv)
    try:
        return import_module(f"mcp_edge.hosts.cli.{args.command}").run(args)
    except ConfigurationError as e:
        print(f"mcp-edge: {e}", file=sys.stderr)
        return EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mcp-edge", description="Serve an MCP server, and what belongs to it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="serve over HTTP, or stdio with --stdio"))
    settings = commands.add_parser("settings", help="print every option with its default and its value here")
    settings.add_argument("--markdown", action="store_true", help="print the table of the documentation")
    _add_keys(commands.add_parser("keys", help="access keys of users, and the server's own secrets"))
    return parser


def _add_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make an access key for a user and print it once")
    create.add_argument("name", metavar="NAME", nargs="?", help="the user who will hold the key")
    create.add_argument("--user", metavar="NAME", help="the same, by name")
    create.add_argument("--scopes", metavar='"A B"', help="what the key allows (default: everything)")
    hashing = actions.add_parser("hash", help="print the hash of the key on standard input")
    for action in (create, hashing):
        action.add_argument(
            "--audience", metavar="URL", help="the server's public URL: the key is good there alone, with --auth oauth"
        )
    actions.add_parser("rotate-secret", help="make a new secret for the server, and say how to put it in place")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--app", default=DEFAULT_APP, metavar="MODULE:FUNCTION", help="default: %(default)s")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=8000, help="port to listen on, 0 for any (default: %(default)s)")
    add("--store", metavar="URL", help="sqlite:PATH, dynamodb:TABLE or memory: (MCP_STORE)")
    add(
        "--auth",
        choices=["none", "keys", "oauth", "jwt", "access"],
        help="who may call; none only on loopback (MCP_AUTH)",
    )
    add("--log-format", choices=["text", "json"], help="form of the log lines (MCP_LOG_FORMAT)")
    add("--workers", type=_count, default=1, metavar="N", help="processes that share the port (default: %(default)s)")
    add("--reload", action="store_true", help="for development: start again when a Python file changes")
    add("--insecure", action="store_true", help="allow --auth none outside loopback, and for other web pages")
    add("--stdio", action="store_true", help="speak stdio, for a client that launches the server itself")
    # How a supervisor hands its socket and its own life to a worker.
    add("--listen-fd", type=int, help=argparse.SUPPRESS)
    add("--parent-fd", type=int, help=argparse.SUPPRESS)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if count < 1:
        raise argparse.ArgumentTypeError("at least one process is needed")
    return count
