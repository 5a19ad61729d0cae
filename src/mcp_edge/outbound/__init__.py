"""Requests of ours: to APIs behind tools, to identity providers, to URLs that users name."""
