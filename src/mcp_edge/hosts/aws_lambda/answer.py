"""What Lambda takes as an answer in one piece: 6 MB of JSON. It knows no request."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

log = logging.getLogger(__name__)

MOST_BYTES = 6 * 1024 * 1024
ASCII = sys.version_info < (3, 12)
"""Whether Lambda's runtime escapes what is not ASCII."""
TOO_LARGE = {
    "statusCode": 500,
    "headers": {"content-type": "application/json"},
    "body": '{"error":"The answer is larger than the 6 MB that Lambda returns in one piece; a streamed one may be."}',
    "isBase64Encoded": False,
}


def bounded(answer: dict[str, Any], request_id: str) -> dict[str, Any]:
    """`answer`, or an error that says why there is none: Lambda's own would be a 502 without a word."""
    # A character is six bytes at most, such as \u0000.
    small = len(answer.get("body", "")) < MOST_BYTES / 8
    if small or len(json.dumps(answer, ensure_ascii=ASCII).encode(errors="replace")) <= MOST_BYTES:
        return answer
    log.error("invocation %s: the answer is larger than 6 MB; Streaming=RESPONSE_STREAM", request_id)
    return TOO_LARGE
