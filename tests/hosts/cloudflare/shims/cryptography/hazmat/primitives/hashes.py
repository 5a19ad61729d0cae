"""The one hash that is named."""


class SHA256:
    """SHA-256."""

    name = "sha256"
