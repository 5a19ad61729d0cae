"""`python -m mcp_edge.hosts.cli`."""

from __future__ import annotations

import sys

from mcp_edge.hosts.cli.main import main

sys.exit(main())
