"""Redirect URIs: which may be registered, and which one a request may use. Pure."""

from __future__ import annotations


def fault(uri: str) -> str:
    """Why `uri` cannot be registered, as a sentence; empty when it can."""
    raise NotImplementedError


def allowed(uri: str, registered: tuple[str, ...]) -> bool:
    """Whether `uri` is one of those registered: exactly, or but for the port on loopback (RFC 8252 §7.3)."""
    raise NotImplementedError
