"""`python -m mcp_edge.cli`."""

from __future__ import annotations

import sys

from mcp_edge.cli.main import main

sys.exit(main())
