"""Every test stores what the tables of keys know, and nothing else."""

from __future__ import annotations

from tests.support.stored_keys import known_keys

__all__ = ["known_keys"]
