"""The engines: what a record promises, it keeps on each."""

from __future__ import annotations

from tests.support.engines import (
    clock,
    cloudflare_ports,
    dynamodb,
    dynamodb_ports,
    engine,
    memory_ports,
    sqlite_ports,
    table,
)

__all__ = [
    "clock", "cloudflare_ports", "dynamodb", "dynamodb_ports", "engine", "memory_ports", "sqlite_ports",
    "table",
]  # fmt: skip
