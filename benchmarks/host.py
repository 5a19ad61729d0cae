"""One contender under uvicorn, alone in its process: `python -m benchmarks.host CONTENDER PORT`.

This project's are started by `mcp-edge serve`, as everybody's are who uses it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import uvicorn

from benchmarks.contenders import CONTENDERS, options


async def _serve(name: str, port: int) -> None:
    async with CONTENDERS[name].build() as app:
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            http="h11",
            loop="asyncio",
            lifespan="off",  # the context around it is the lifespan
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        await uvicorn.Server(config).serve()


def _serve_ours(name: str, port: int) -> int:
    """As `platform` of the contenders has it; the log lines go to the null device, too."""
    from mcp_edge.hosts.cli.main import main

    _, _, auth, store = name.split("-")
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("wb") as null:
        os.environ |= options()
        os.dup2(null.fileno(), sys.stderr.fileno())
        at = f"sqlite:{folder}/bench.db" if store == "sqlite" else "memory:"
        app = "benchmarks.echo:create_server"
        return main(["serve", "--app", app, "--port", str(port), "--auth", auth, "--store", at])


if __name__ == "__main__":
    if sys.argv[1].startswith("ours-"):
        sys.exit(_serve_ours(sys.argv[1], int(sys.argv[2])))
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
