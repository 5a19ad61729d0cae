"""The official conformance suite against our server, and the fixture that it needs."""
