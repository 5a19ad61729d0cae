"""Tests of the example server, tool by tool."""
