"""The official SDK, driven for one request. No other package knows its insides."""
