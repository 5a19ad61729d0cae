"""The one exception that is caught."""


class InvalidTag(Exception):
    """The text was not sealed with this key, nonce and context."""
