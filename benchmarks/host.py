"""One contender under uvicorn, alone in its process: `python -m benchmarks.host CONTENDER PORT`."""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from benchmarks.contenders import CONTENDERS


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


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
