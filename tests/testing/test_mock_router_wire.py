"""`MockRouter`: faults on purpose, and HTTP as clients of all kinds speak it."""

from __future__ import annotations

import http.client
import time

import pytest
from router_asks import API, ask, connect, raw, status

from offloop.testing import MockRouter

# --- faults


def test_reset_is_a_tcp_reset() -> None:
    with MockRouter() as router:
        router.get("/").reset().respond(200)
        with pytest.raises(ConnectionResetError):
            raw(router, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert status(router, "GET", API) == 200


def test_close_ends_the_connection_before_any_byte() -> None:
    with MockRouter() as router:
        router.get("/").close()
        assert raw(router, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n") == b""


def test_garbage_is_not_http() -> None:
    with MockRouter() as router:
        router.get("/").garbage()
        with pytest.raises(http.client.BadStatusLine):
            ask(router, "GET", API)


def test_truncate_announces_more_than_it_sends() -> None:
    with MockRouter() as router:
        router.get("/").truncate(after=10).truncate(2, status=206, content=b"12345")
        received = raw(router, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b"\r\ncontent-length: 1010\r\n" in received
        assert received.endswith(b"\r\n\r\n" + b"x" * 10)
        received = raw(router, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert received == b"HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\n\r\n12"
        with pytest.raises(ValueError):
            router.get("/").truncate(5, content=b"12345")


def test_stall_never_answers_and_ends_with_the_client_or_the_router() -> None:
    with MockRouter() as router:
        router.get("/nothing").stall()
        router.get("/three").stall(after=3)
        with connect(router) as first, connect(router) as second:
            first.sendall(b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n")
            second.sendall(b"GET /three HTTP/1.1\r\nhost: a\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n\r\nxxx"):
                received += second.recv(65536)
            first.settimeout(0.05)
            with pytest.raises(TimeoutError):
                first.recv(1)
            router.__exit__(None, None, None)
            assert (first.recv(1), second.recv(1)) == (b"", b"")
        assert len(router.calls) == 2


def test_latency_comes_before_each_answer() -> None:
    with MockRouter() as router:
        router.get("/").respond(200).close().latency(0.2)
        before = time.monotonic()
        assert status(router, "GET", API) == 200
        with pytest.raises(http.client.RemoteDisconnected):
            ask(router, "GET", API)
        assert time.monotonic() - before >= 0.39


# --- HTTP/1.1


def test_a_connection_takes_one_request_after_another() -> None:
    with MockRouter() as router:
        router.post("/a").respond(text="a")
        router.get("/b").respond(content=[b"b"])
        # Pipelined, with an empty line between them.
        both = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc\r\n"
        both += b"GET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        received = raw(router, both)
        assert received.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert received.endswith(b"connection: close\r\n\r\n1\r\nb\r\n0\r\n\r\n")
        assert [call.path for call in router.calls] == ["/a", "/b"]


def test_an_http_1_0_client_gets_a_body_that_ends_with_the_connection() -> None:
    with MockRouter() as router:
        router.get("http://x/").respond(content=[b"b"])
        received = raw(router, b"GET / HTTP/1.0\r\nhost: x\r\n\r\n")
        assert received == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nb"


def test_a_client_that_expects_100_continue_gets_it() -> None:
    with MockRouter() as router, connect(router) as connection:
        route = router.put("/")
        head = b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert route.calls[0].content == b"abc"


def test_the_absolute_form_of_a_target_is_understood() -> None:
    with MockRouter() as router:
        route = router.get("/x")
        raw(router, b"GET https://a.example/x?y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert route.calls[0].url == "https://a.example/x?y"


@pytest.mark.parametrize(
    ("code", "request_bytes"),
    [
        (400, b"GET /\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost: a\r\nx y: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        (
            400,
            b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (400, b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"),
        (400, b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n"),
        (501, b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"x" * 66_000 + b"\r\n\r\n"),
    ],
)
def test_a_request_that_breaks_the_rules_is_refused(code: int, request_bytes: bytes) -> None:
    with MockRouter() as router:
        assert raw(router, request_bytes).startswith(b"HTTP/1.1 %d " % code)
        assert router.calls == []
