"""Lambda's entry where responses are streamed: `run.sh` runs it in place of AWS's own runtime. It has no rule."""

from __future__ import annotations

import gc

gc.disable()  # as in handler.py; on again when the environment is made

from mcp_edge.hosts.aws_lambda.streaming import main
from my_server.server import create_server

if __name__ == "__main__":
    main(create_server)
