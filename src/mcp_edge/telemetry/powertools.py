"""Call events through AWS Lambda Powertools: a log line and the metrics of each call, both on standard output.

CloudWatch reads the metrics out of the log (Embedded Metric Format): no request is made, nothing waits. It knows no
handler and no event of Lambda's.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from mcp_edge.platform import CallEvent
from mcp_edge.telemetry.root_logger import quiet
from mcp_edge.text.log_text import MAX_MESSAGE_CHARS, bounded_trace, clipped

NAMESPACE = "mcp-edge"
_OUTCOMES = frozenset({"ok", "tool_error", "cancelled", "suspended", "interrupted"})
_LEFT = frozenset({"gone", "ended", "lost"})
"""Nobody waits any longer for the call at this instance: no more an error than a cancellation is."""
_MAX_DEPTH = 5
_MAX_MEMBERS = 100


class PowertoolsSink:
    """A `Telemetry` whose lines carry the invocation. Making it takes over the root logger."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """`variables` name the function and `MCP_LOG_LEVEL`."""
        function = variables.get("AWS_LAMBDA_FUNCTION_NAME") or NAMESPACE
        level = variables.get("MCP_LOG_LEVEL") or "info"
        # The service becomes the logger's name, which must be no library's; the function's could be anything.
        self.logger = Logger(
            service=NAMESPACE,
            level=level.upper(),
            stream=sys.stdout,
            utc=True,
            function_name=function,
            json_serializer=_serialized,
            json_deserializer=str,  # a message that looks like JSON is a message all the same
        )
        logging.getLogger(NAMESPACE).propagate = False
        root = logging.getLogger()
        root.handlers[:] = self.logger.handlers  # the records of all libraries take the same form
        root.setLevel(level.upper())
        quiet(level)
        self._metrics = EphemeralMetrics(namespace=NAMESPACE, service=function)

    def invocation(self, request_id: str) -> None:
        """Name the invocation that the next lines belong to."""
        self.logger.append_keys(function_request_id=request_id)

    def call(self, event: CallEvent) -> None:
        """Write one log line, and one line of metrics whose only dimension is the outcome.

        A dimension's every value is billed as a metric of its own, and a caller may name any method or tool: their
        names are searchable fields of the line instead.
        """
        outcome = event.status if event.status in _OUTCOMES else "cancelled" if event.status in _LEFT else "error"
        write = self.logger.error if event.status == "-32603" else self.logger.info
        fields = event._asdict().items()
        write("call", extra={"call": {name: clipped(v) if isinstance(v, str) else v for name, v in fields}})
        self._metrics.add_dimension("outcome", outcome)
        self._metrics.add_metric("Calls", MetricUnit.Count, 1)
        self._metrics.add_metric("Duration", MetricUnit.Milliseconds, event.duration_ms)
        self._metrics.flush_metrics()


def _serialized(line: dict[str, Any]) -> str:
    """One line of ASCII, so that no separator and no lone surrogate of a stranger's text needs a thought."""
    if "exception" in line:
        line = {**line, "exception": bounded_trace(str(line["exception"]))}
    return json.dumps({name: v if name == "exception" else _bounded(v) for name, v in line.items()})


def _bounded(value: Any, depth: int = 0) -> Any:
    """A value that JSON has, its texts and lists cut where they are long."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        members = list(cast("dict[Any, Any]", value).items())[:_MAX_MEMBERS]
        return {clipped(str(name)): _bounded(member, depth + 1) for name, member in members}
    if isinstance(value, (list, tuple)) and depth < _MAX_DEPTH:
        items = list(cast("list[Any] | tuple[Any, ...]", value))
        return [_bounded(item, depth + 1) for item in items[:_MAX_MEMBERS]]
    return clipped(str(cast("object", value)), MAX_MESSAGE_CHARS)
