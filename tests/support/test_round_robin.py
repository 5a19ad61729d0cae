"""The proxy that the other tests trust: strict turns, streams at once, ends passed on both ways."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.fleet import free_port
from tests.support.round_robin import RoundRobin

DEADLINE_S = 5


@contextmanager
def backend(serve: Callable[[socket.socket, bytes], None]) -> Generator[int]:
    """A raw backend: `serve` gets each connection with what was read up to the end of the request's head."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(DEADLINE_S)
                head = b""
                while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
                    head += data
                serve(connection, head)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE_S)


def saying(name: str) -> Callable[[socket.socket, bytes], None]:
    """A backend that answers each request with its name."""

    def serve(connection: socket.socket, head: bytes) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n{name}".encode())

    return serve


def get(client: http.client.HTTPConnection, path: str = "/") -> str:
    client.request("GET", path)
    return client.getresponse().read().decode()


def read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def connect(proxy: RoundRobin) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=DEADLINE_S)


def test_requests_on_one_kept_alive_connection_alternate() -> None:
    with backend(saying("a")) as a, backend(saying("b")) as b, RoundRobin([a, b]) as proxy:
        client = connect(proxy)
        client.connect()
        first = client.sock
        assert [get(client) for _ in range(5)] == ["a", "b", "a", "b", "a"]
        assert client.sock is first
        assert proxy.served == [a, b, a, b, a]
        client.close()


def test_a_backend_that_is_down_passes_its_turn_on() -> None:
    with backend(saying("a")) as a, RoundRobin([free_port(), a]) as proxy:
        client = connect(proxy)
        assert [get(client) for _ in range(3)] == ["a", "a", "a"]
        client.close()


def test_no_backend_at_all_is_a_502() -> None:
    with RoundRobin([free_port()]) as proxy:
        client = connect(proxy)
        client.request("GET", "/")
        assert client.getresponse().status == 502
        client.close()


def test_host_header_body_and_target_arrive_as_the_client_sent_them() -> None:
    def echo(connection: socket.socket, head: bytes) -> None:
        while not head.endswith(b"0\r\n\r\n"):
            head += connection.recv(65536)
        body = json.dumps(head.decode()).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with backend(echo) as port, RoundRobin([port]) as proxy:
        client = connect(proxy)
        client.request("POST", "/mcp?x=%20", body=iter([b"one", b"two"]), headers={"Host": "evil.example", "X-Y": "z"})
        seen: str = json.loads(client.getresponse().read())
        client.close()
    assert seen.startswith("POST /mcp?x=%20 HTTP/1.1\r\n")
    assert "Host: evil.example\r\n" in seen
    assert "X-Y: z\r\n" in seen
    assert "one" in seen
    assert "two" in seen


def test_an_event_passes_while_the_response_is_open() -> None:
    received = threading.Event()

    def stream(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        assert received.wait(DEADLINE_S)
        connection.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    with backend(stream) as port, RoundRobin([port]) as proxy:
        client = connect(proxy)
        client.request("GET", "/")
        response = client.getresponse()
        assert response.read(9) == b"data: 1\n\n"
        received.set()
        assert response.read() == b"data: 2\n\n"
        client.close()


def test_a_request_body_passes_while_it_is_being_sent() -> None:
    half, done = threading.Event(), threading.Event()

    def sink(connection: socket.socket, head: bytes) -> None:
        while b"one" not in head:
            head += connection.recv(65536)
        half.set()
        while b"two" not in head:
            head += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        done.set()

    with backend(sink) as port, RoundRobin([port]) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\none")
        assert half.wait(DEADLINE_S)
        raw.sendall(b"two")
        assert done.wait(DEADLINE_S)


def test_the_backend_sees_the_client_leave_a_stream_at_once() -> None:
    left = threading.Event()

    def stream(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n:\r\n")
        assert connection.recv(1) == b""
        left.set()

    with backend(stream) as port, RoundRobin([port]) as proxy:
        client = connect(proxy)
        client.request("GET", "/")
        response = client.getresponse()
        assert response.read(1) == b":"
        response.close()
        client.close()
        assert left.wait(DEADLINE_S)


def test_the_backend_sees_the_client_leave_before_any_answer() -> None:
    arrived, left = threading.Event(), threading.Event()

    def mute(connection: socket.socket, head: bytes) -> None:
        arrived.set()
        assert connection.recv(1) == b""
        left.set()

    with backend(mute) as port, RoundRobin([port]) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert arrived.wait(DEADLINE_S)
        assert left.wait(DEADLINE_S)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n:\r\n"])
def test_a_backend_that_breaks_off_resets_the_client_and_nothing_is_retried(sent: bytes) -> None:
    hits: list[bytes] = []

    def abort(connection: socket.socket, head: bytes) -> None:
        hits.append(head)
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with backend(abort) as port, RoundRobin([port, port]) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                read_to_the_end(raw)
        assert len(hits) == 1


def test_an_early_refusal_reaches_a_client_that_still_sends() -> None:
    def refuse(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            pass

    with backend(refuse) as port, RoundRobin([port]) as proxy:
        client = connect(proxy)
        client.request("POST", "/", body=b"x" * 3_000_000)
        assert client.getresponse().status == 413
        client.close()


def test_open_streams_end_with_the_proxy() -> None:
    def stream(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n:\r\n")
        assert connection.recv(1) == b""

    with backend(stream) as port:
        with RoundRobin([port]) as proxy:
            client = connect(proxy)
            client.request("GET", "/")
            response = client.getresponse()
            assert response.read(1) == b":"
        with pytest.raises(ConnectionResetError):
            response.read(1)
        client.close()


def test_requests_that_overtake_each_other_do_not_find_only_the_backend_that_is_down() -> None:
    with backend(saying("a")) as a, RoundRobin([free_port(), free_port(), a]) as proxy:

        def many(_: int) -> set[str]:
            client = connect(proxy)
            found = {get(client) for _ in range(20)}
            client.close()
            return found

        with ThreadPoolExecutor(16) as pool:
            assert set[str]().union(*pool.map(many, range(16))) == {"a"}


def test_a_backend_that_is_not_ready_gets_no_request_until_it_is() -> None:
    ready = threading.Event()

    def slow_to_start(connection: socket.socket, head: bytes) -> None:
        status = b"200 OK" if ready.is_set() or b"/readyz" not in head else b"503 Service Unavailable"
        connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: 1\r\n\r\nb" % status)

    def turns(client: http.client.HTTPConnection, wanted: list[str]) -> list[str]:
        deadline = time.monotonic() + DEADLINE_S
        while (seen := [get(client) for _ in wanted]) != wanted and time.monotonic() < deadline:
            pass
        return seen

    with backend(saying("a")) as a, backend(slow_to_start) as b, RoundRobin([a, b], check_s=0.02) as proxy:
        client = connect(proxy)
        assert turns(client, ["a"] * 6) == ["a"] * 6
        ready.set()
        assert turns(client, ["a", "b"] * 3) == ["a", "b"] * 3
        client.close()
