"""What runs beside a call that lasts: it keeps the stream alive and notices a client who leaves.

It runs in the call's own frame, and is always joined before the call ends. It knows no wire.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mcp_edge.errors import StoreUnavailable

if TYPE_CHECKING:
    from mcp_edge.calls.call import Call

logger = logging.getLogger(__name__)


async def attend(call: Call) -> None:
    """Begin the call's stream, and look after the call until its outcome is known."""
    outlet, every_s = call.outlet, call.platform.poll_intervals.most_s
    receiver = asyncio.ensure_future(call.request.receive())
    try:
        await outlet.open()
        while call.running:
            await asyncio.wait({receiver}, timeout=every_s)
            if receiver.done() and not outlet.detached:
                if receiver.result()["type"] == "http.disconnect":
                    outlet.detach()
                else:
                    receiver = asyncio.ensure_future(call.request.receive())
            if receiver.done():
                await asyncio.sleep(every_s)
            try:
                await call.look_after()
            except StoreUnavailable:
                logger.warning("the store is away; request %s goes on", call.trace_id())
    finally:
        receiver.cancel()
