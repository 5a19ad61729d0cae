"""What of a connection's bytes h11 gets to see: one request at a time, its head checked, its chunks joined.

h11 is correct and slow: a field costs it 4 µs, a chunk 10. What a stranger sends is bounded here before h11 looks at
it, and what other parsers read differently (RFC 9112 §11.2) is refused. It knows no socket and no clock.
"""

from __future__ import annotations

import re

import h11

from mcp_edge.hosts.cli.http_chunks import Chunks

MAX_LINE = 16 * 1024
"""Bytes of a request line. RFC 9112 §3 recommends to support 8,000."""
MAX_HEAD = 32 * 1024
"""Bytes of a request's head: room for long tokens and cookies, and as much as proxies in front pass on."""
MAX_FIELDS = 100
"""Fields of a request's head. Browsers send 25; each proxy adds a few."""
MAX_UNREAD = 16 * 1024 * 1024
"""Bytes of a body that are read after the answer to it has begun."""

_ABSOLUTE = re.compile(rb"(?i:https?)://((?:[a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?)(?=[/?]|$)")
_HOST = re.compile(rb"(?i)(\r\nhost:)[^\r]*")
_MALFORMED = "The request is not valid HTTP/1.1."
_PAUSED = (h11.DONE, h11.MIGHT_SWITCH_PROTOCOL)  # pyright: ignore[reportPrivateImportUsage] # documented all the same
"""Until its answer: what has asked for another protocol (RFC 9110 §7.8) is a whole request like any other."""
_UNDER_WAY = (h11.SEND_BODY, h11.DONE, h11.MUST_CLOSE, h11.CLOSED)


class Connection(h11.Connection):
    """An h11 connection of a server that is handed no more than what has been checked."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._raw = bytearray()
        """Received, and not yet handed to h11."""
        self._chunks: Chunks | None = None
        self._length = 0
        """Bytes that are missing of a body whose length was declared."""
        self._unread = 0
        self._arrived = 0
        """Bytes of a body that came after its head, until its answer."""
        self.held = False
        """Whether the next request has to wait: the client has not read what it asked for."""
        self.sent = 0
        """Bytes of answers, handed out to be written."""
        self._answer = b""
        """The head of an answer whose body is to follow at once: one packet, one call of the system."""
        self.refusal: tuple[int, str] | None = None
        """The status and the message for the client, once it has sent something that cannot be served."""

    @property
    def unread(self) -> bool:
        """Whether the client may still be sending what nobody is going to read."""
        return self.refusal is not None or self.unfinished

    @property
    def begun(self) -> bool:
        """Whether a part of a request's head has arrived."""
        return self.their_state is h11.IDLE and bool(self._raw)

    @property
    def kept(self) -> int:
        """Bytes that the client has sent bit by bit, or too early, and that are not answered."""
        return self._arrived + len(self._raw)

    @property
    def unfinished(self) -> bool:
        """Whether the rest of a request is to come, or one that has to wait is there."""
        return self.their_state is h11.SEND_BODY or bool(self._raw)

    def start_next_cycle(self) -> None:
        """As in h11."""
        super().start_next_cycle()
        self._arrived = 0

    def receive_data(self, data: bytes) -> None:
        """Keep what the client has sent until `next_event` asks for it."""
        self._raw += data

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event, as in h11.

        Raises:
            h11.RemoteProtocolError: the client sent what cannot be served; `refusal` says why.
        """
        state = self.their_state
        if state is h11.IDLE:
            if not self._raw:
                return h11.NEED_DATA
            if self.held:
                return h11.PAUSED
            if not (head := self._head()):
                return h11.NEED_DATA
            super().receive_data(head)
        elif state is h11.SEND_BODY:
            if self._raw and (body := self._body()):  # to h11, nothing would mean the end
                super().receive_data(body)
        elif state in _PAUSED:
            return h11.PAUSED if self._raw else h11.NEED_DATA
        elif state is h11.MUST_CLOSE or state is h11.CLOSED:
            self._raw.clear()  # nothing that follows the last request counts (RFC 9112 §9.6)
        try:
            return super().next_event()
        except h11.RemoteProtocolError as e:
            self.refusal = self.refusal or (431 if e.error_status_hint == 431 else 400, _MALFORMED)
            raise

    def send(self, event: h11.Event) -> bytes:  # pyright: ignore[reportIncompatibleMethodOverride] # overloaded there
        """As in h11, but a head that states the length of its body is handed out together with it.

        An answer to a request that has not ended is the connection's last (RFC 9112 §9.3).
        """
        if type(event) is h11.Response:
            if self.their_state is h11.SEND_BODY:
                headers = [field for field in event.headers if field[0] != b"connection"]
                headers.append((b"connection", b"close"))
                event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
            output = super().send(event) or b""
            if b"\r\ncontent-length: " in output:
                self._answer = output
                return b""
        else:
            output = self._answer + (super().send(event) or b"")
            self._answer = b""
        self.sent += len(output)
        return output

    # -- the head --------------------------------------------------------------------------------------------------

    def _head(self) -> bytes:
        """The head of a request, once it is whole and has passed, and its body if that has come with it."""
        raw = self._raw
        end = raw.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
        if end == 3:
            self._check_beginning()
            return b""
        head = bytes(raw[:end])
        lines = head.count(b"\r\n")
        if lines > MAX_FIELDS + 2:
            raise self._refuse(f"The request has more than {MAX_FIELDS} header fields.", 431)
        # A bare LF, a bare CR and a folded line are read differently by different parsers (RFC 9112 §2.2, §5.2).
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\n " in head or b"\n\t" in head:
            raise self._refuse(_MALFORMED)
        line = head[: head.index(b"\r")]
        if len(line) > MAX_LINE:
            raise self._refuse(f"The request line has more than {MAX_LINE} bytes.", 414)
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise self._refuse(_MALFORMED)
        if parts[0] == b"CONNECT":  # h11 would let the answer switch to a tunnel (RFC 9110 §9.3.6)
            raise self._refuse("This is no proxy: there is nothing to connect to.")
        if not parts[1].startswith(b"/"):
            head = self._in_origin_form(head, parts[1])
        self._frame(head.lower(), old=parts[2] == b"HTTP/1.0")
        if self._length <= len(raw) - end:  # the body is there, too
            begin, end, self._length = end, end + self._length, 0
            head += raw[begin:end]
        del raw[:end]
        return head

    def _in_origin_form(self, head: bytes, target: bytes) -> bytes:
        """A head whose target is a URL, with its authority in place of the Host, which is ignored (RFC 9112 §3.2.2)."""
        url = _ABSOLUTE.match(target)
        if url is None:
            raise self._refuse("The request's target must be a path, or a URL of http or https.")
        if len(_HOST.findall(head)) != 1:  # one is required all the same (RFC 9112 §3.2)
            raise self._refuse(_MALFORMED)
        path = target[url.end() :]
        path = path if path.startswith(b"/") else b"/" + path
        before, _, after = head.partition(b" " + target + b" ")
        return _HOST.sub(lambda host: host[1] + b" " + url[1], b"%b %b %b" % (before, path, after))

    def _check_beginning(self) -> None:
        """Refuse a head that has not ended and never will, or not in time."""
        raw = self._raw
        newline = raw.find(b"\n")
        if newline < 0 and len(raw) > MAX_LINE:
            raise self._refuse(f"The request line has more than {MAX_LINE} bytes.", 414)
        if len(raw) >= MAX_HEAD:
            raise self._refuse(f"The request's head has more than {MAX_HEAD} bytes.", 431)
        if raw.count(b"\n") > MAX_FIELDS + 1:
            raise self._refuse(f"The request has more than {MAX_FIELDS} header fields.", 431)
        if raw[0] < 0x21 or raw.count(b"\n") != raw.count(b"\r\n"):
            raise self._refuse(_MALFORMED)

    def _frame(self, head: bytes, *, old: bool) -> None:
        """Learn how long the body is. `head` is in small letters.

        Whatever could be read in two ways is refused (RFC 9112 §6.1, §6.3), with 400 where §6.1 has 501 for some.
        """
        lengths, codings = head.count(b"\ncontent-length:"), head.count(b"\ntransfer-encoding:")
        self._chunks, self._length, self._unread = None, 0, 0
        if lengths + codings > 1 or (codings and old):
            raise self._refuse("The length of the request's body is stated in two ways, or in one that is not valid.")
        if lengths:
            length = _value(head, b"\ncontent-length:")
            if not length.isdigit() or len(length) > 18:
                raise self._refuse("The Content-Length is not valid.")
            self._length = int(length)
        elif codings:
            if _value(head, b"\ntransfer-encoding:") != b"chunked":
                raise self._refuse("The only Transfer-Encoding here is `chunked`.")
            self._chunks = Chunks()

    # -- the body --------------------------------------------------------------------------------------------------

    def _body(self) -> bytes:
        """What has arrived of the body, in one piece."""
        size = len(self._raw)
        if self._chunks is not None:
            try:
                handed = self._chunks.take(self._raw)
            except ValueError as e:
                raise self._refuse(str(e)) from None
        else:
            handed = bytes(self._raw[: self._length])
            self._length -= len(handed)
            del self._raw[: len(handed)]
        if self.our_state in _UNDER_WAY:
            self._unread += size - len(self._raw)
            if self._unread > MAX_UNREAD:
                raise self._refuse("The body goes on although it was answered.")
        else:
            self._arrived += len(handed)
        return handed

    def _refuse(self, message: str, status: int = 400) -> h11.RemoteProtocolError:
        self.refusal = status, message
        return h11.RemoteProtocolError(message, error_status_hint=status)


def _value(head: bytes, field: bytes) -> bytes:
    begin = head.index(field) + len(field)
    return head[begin : head.index(b"\r", begin)].strip(b" \t")
