"""What `EdgeProtocol` relies on inside uvicorn, h11 and asyncio: an update that changes any of it fails here."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import selector_events
from unittest.mock import Mock

import h11
from uvicorn.config import Config
from uvicorn.protocols.http import flow_control, h11_impl

from mcp_edge.hosts.cli.http_framing import Connection
from mcp_edge.hosts.cli.http_protocol import EdgeProtocol
from mcp_edge.hosts.cli.http_transport import Transport

PROTOCOL = inspect.getsource(h11_impl.H11Protocol)
CYCLE = inspect.getsource(h11_impl.RequestResponseCycle)


def test_uvicorn_calls_what_is_replaced() -> None:
    for name in ("on_response_complete", "send_400_response", "shutdown", "connection_made",
                 "connection_lost", "pause_writing", "resume_writing", "data_received",
                 "_unsupported_upgrade_warning", "_unset_keepalive_if_required"):  # fmt: skip
        assert name in vars(h11_impl.H11Protocol), name
        assert inspect.signature(getattr(EdgeProtocol, name)).parameters.keys() == (
            inspect.signature(getattr(h11_impl.H11Protocol, name)).parameters.keys()
        ), name
    for call in ("self.conn.receive_data(data)", "self.conn.next_event()", "except h11.RemoteProtocolError",
                 "self.send_400_response(", "on_response=self.on_response_complete", "conn=self.conn",
                 "transport=self.transport", "self.app_state.copy()", "self.timeout_keep_alive_task",
                 "self._unsupported_upgrade_warning()"):  # fmt: skip
        assert call in PROTOCOL, call
    for call in ("self.conn.send(event=response)", "self.transport.write(output)", "self.transport.close()",
                 "self.on_response()", "self.disconnected", "self.message_event"):  # fmt: skip
        assert call in CYCLE, call


def test_a_send_that_is_cancelled_has_sent_nothing() -> None:
    send = inspect.getsource(h11_impl.RequestResponseCycle.send)
    assert send.count("await ") == 1
    assert send.index("await self.flow.drain()") < send.index("self.transport.write")


def test_uvicorn_takes_a_protocol_of_ones_own() -> None:
    config = Config("", http=EdgeProtocol)
    config.load_app = lambda: None  # pyright: ignore[reportAttributeAccessIssue] # nothing to load
    config.load()
    assert config.http_protocol_class is EdgeProtocol


def test_the_transport_has_all_that_uvicorn_uses_of_one() -> None:
    source = PROTOCOL + CYCLE + inspect.getsource(flow_control.FlowControl)
    used = {name for name in dir(asyncio.Transport) if f"transport.{name}(" in source} - {"set_protocol"}  # WebSockets
    assert used == {"close", "is_closing", "pause_reading", "resume_reading", "write"}
    assert used <= {*vars(Transport), *vars(Transport(Mock(), Mock()))}


def test_asyncio_reads_into_the_buffer_of_the_protocol() -> None:
    assert issubclass(EdgeProtocol, asyncio.BufferedProtocol)
    assert "BufferedProtocol" in inspect.getsource(selector_events._SelectorSocketTransport.set_protocol)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType] # asyncio's own


def test_h11_has_one_way_in() -> None:
    for name in ("receive_data", "next_event", "send"):
        assert name in vars(h11.Connection)
        assert name in vars(Connection)
