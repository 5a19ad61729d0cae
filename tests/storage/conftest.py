"""The engines, and contracts whose failures say what was compared."""

from __future__ import annotations

import pytest

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

pytest.register_assert_rewrite("tests.storage.record_contract", "tests.storage.atomic_contract")
