"""Stands in for `cryptography`, which PyPI has not for Pyodide: AES-256-GCM and HKDF-SHA256 of `node:crypto`.

Only what the SDK's sealed request state uses is here.
"""
