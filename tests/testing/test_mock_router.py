"""`MockRouter`: what it answers and remembers, how it fails on purpose, what it complains of."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import threading
import time
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

import pytest

import offloop
from conftest import Run
from offloop.testing import MockRequest, MockRouter, Reply

pytest_plugins = ["pytester"]

API = "https://api.example.com"


def connect(router: MockRouter) -> socket.socket:
    host, _, port = router.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def ask(
    router: MockRouter, method: str, url: str, body: Any = None, **headers: str
) -> http.client.HTTPResponse:
    """Ask as a client does whose connections all lead to the router."""
    asked = urlsplit(url)
    target = (asked.path or "/") + (f"?{asked.query}" if asked.query else "")
    sent = {"Host": asked.netloc, **{k.replace("_", "-"): v for k, v in headers.items()}}
    chunked = not isinstance(body, bytes)
    with contextlib.closing(http.client.HTTPConnection(router.address, timeout=10)) as connection:
        connection.request(method, target, body, sent, encode_chunked=chunked)
        with connection.getresponse() as answer:
            answer.content = answer.read()  # type: ignore[attr-defined]
            return answer


def status(router: MockRouter, method: str, url: str, body: Any = None, **headers: str) -> int:
    return ask(router, method, url, body, **headers).status


def raw(router: MockRouter, data: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    with connect(router) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


# --- answers


def test_a_route_answers_what_it_was_told() -> None:
    with MockRouter() as router:
        router.get(f"{API}/json").respond(201, json={"a": None}, headers={"x-one": "1"})
        router.get(f"{API}/text").respond(text="grün")
        router.get(f"{API}/bytes").respond(content=b"\x00\xff")
        router.get(f"{API}/chunks").respond(content=[b"one,", b"", b"two"])
        router.get(f"{API}/nothing")
        answer: Any = ask(router, "GET", f"{API}/json")
        assert (answer.status, json.loads(answer.content)) == (201, {"a": None})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-one"] == "1"
        answer = ask(router, "GET", f"{API}/text")
        assert answer.content.decode() == "grün"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        answer = ask(router, "GET", f"{API}/bytes")
        assert (answer.content, answer.headers["content-length"]) == (b"\x00\xff", "2")
        answer = ask(router, "GET", f"{API}/chunks")
        assert (answer.content, answer.headers["transfer-encoding"]) == (b"one,two", "chunked")
        answer = ask(router, "GET", f"{API}/nothing")
        assert (answer.status, answer.content) == (200, b"")


def test_a_header_may_be_sent_twice_and_replaced() -> None:
    with MockRouter() as router:
        pairs = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("Content-Type", "application/x")]
        router.get("/").respond(json=[], headers=pairs)
        answer = ask(router, "GET", API)
        assert answer.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert answer.headers.get_all("content-type") == ["application/x"]


def test_answers_come_one_after_the_other_and_the_last_is_repeated() -> None:
    with MockRouter() as router:
        route = router.get("/").respond(500).too_many_requests(retry_after=3).respond(204)
        assert [status(router, "GET", API) for _ in range(4)] == [500, 429, 204, 204]
        assert route.call_count == 4


def test_a_reply_has_one_body() -> None:
    with pytest.raises(TypeError):
        Reply(json={}, text="")


def test_a_head_answer_announces_a_body_it_does_not_send() -> None:
    with MockRouter() as router:
        router.head("/").respond(content=b"12345")
        answer: Any = ask(router, "HEAD", API)
        assert (answer.headers["content-length"], answer.content) == ("5", b"")
        router.get("/empty").respond(204)
        assert "content-length" not in ask(router, "GET", f"{API}/empty").headers


def test_retry_after_may_be_a_date() -> None:
    with MockRouter() as router:
        router.get("/").too_many_requests(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert ask(router, "GET", API).headers["retry-after"] == "Wed, 02 Jan 2030 03:04:05 GMT"


# --- handlers


def test_a_handler_sees_the_request_and_makes_the_reply() -> None:
    async def later(request: MockRequest) -> Reply:
        await asyncio.sleep(0)
        return Reply(json=request.json()["a"] + 1)

    with MockRouter() as router:
        router.post("/").handle(lambda request: Reply(text=request.text[::-1])).handle(later)
        first: Any = ask(router, "POST", API, b"abc")
        second: Any = ask(router, "POST", API, b'{"a": 1}')
        assert (first.content, second.content) == (b"cba", b"2")


@pytest.mark.parametrize("kind", ["assertion", "pytest.fail", "no reply", "in a chunk"])
def test_what_a_handler_raises_is_a_500_and_raised_again_on_exit(kind: str) -> None:
    def bad(request: MockRequest) -> Any:
        assert kind != "assertion", "from the handler"
        if kind == "pytest.fail":
            pytest.fail("from the handler")
        return "from the handler"

    def chunks() -> Any:
        yield b"x"
        raise ValueError("from the handler")

    with pytest.raises(BaseException, match="from the handler"), MockRouter() as router:
        if kind == "in a chunk":
            router.get("/").respond(content=chunks())
            with pytest.raises(http.client.IncompleteRead):
                ask(router, "GET", API)
        else:
            router.get("/").handle(bad)
            assert status(router, "GET", API) == 500


# --- matching


@pytest.mark.parametrize(
    ("pattern", "url", "path_params"),
    [
        (f"{API}/users/{{id}}", f"{API}/users/7", {"id": "7"}),
        (f"{API}/users/{{id}}", "http://api.example.com/users/a%2Fb", {"id": "a/b"}),
        (f"{API}/users/{{id}}", f"{API}/users/7/posts", None),
        (f"{API}/users/{{id}}", f"{API}/users/", None),
        (f"{API}/{{name}}.{{kind}}", f"{API}/a.txt", {"name": "a", "kind": "txt"}),
        (f"{API}/files/*", f"{API}/files/a/b.txt", {}),
        ("https://*.example.com/", "http://api.example.com/", {}),
        ("https://*.example.com/", "http://example.com/", None),
        ("https://{tenant}.example.com/", "http://api.example.com/", {"tenant": "api"}),
        (API, f"{API}/", {}),
        (API, "https://API.example.com/", {}),
        (API, "https://other.example.com/", None),
        (API, "https://api.example.com:8443/", None),
        ("https://api.example.com:443", API, {}),
        ("https://api.example.com", "https://api.example.com:443/", {}),
        ("http://api.example.com:8443/", "https://api.example.com:8443/", {}),
        ("http://[::1]:8000/x", "http://[::1]:8000/x", {}),
        ("/x", "http://anything:1/x", {}),
        ("*", "http://anything:1/x?y=z", {}),
        ("*://api.example.com/x", f"{API}/x", {}),
        ("/ü", f"{API}/%C3%BC", {}),
        ("https://bücher.example/", "http://xn--bcher-kva.example/", {}),
        ("/a%2Fb", f"{API}/a/b", None),
        ("/a.b", f"{API}/axb", None),
        ("/x?a=1", f"{API}/x?b=2&a=1", {}),
        ("/x?a=1", f"{API}/x?a=2", None),
        ("/x", f"{API}/x?a=2", {}),
        (re.compile(r"^https://api\.example\.com/v(?P<n>\d+)"), f"{API}/v2/x", {"n": "2"}),
        (re.compile(r"^http://api\.example\.com/x\?a=1$"), f"{API}/x?a=1", {}),
        (re.compile(r"/y$"), f"{API}/x", None),
    ],
    ids=str,
)
def test_a_pattern_says_which_urls_match(
    pattern: Any, url: str, path_params: dict[str, str] | None
) -> None:
    with MockRouter(assert_all_mocked=False) as router:
        route = router.route(None, pattern)
        assert status(router, "GET", url) == (501 if path_params is None else 200)
        if path_params is not None:
            assert route.calls[0].path_params == path_params


@pytest.mark.parametrize("pattern", ["", "x", "ftp://x/", "https:///x", "/{a}/{a}", "http://a:b/"])
def test_what_is_no_pattern_is_a_value_error(pattern: str) -> None:
    with pytest.raises(ValueError):
        MockRouter().get(pattern)


def test_a_route_may_ask_for_parameters_headers_and_a_body() -> None:
    with MockRouter(assert_all_mocked=False) as router:
        router.get("/p", params={"a": 1, "b": ["x", "y"], "c": True})
        assert status(router, "GET", f"{API}/p?b=x&a=1&b=y&c=true&d=") == 200
        assert status(router, "GET", f"{API}/p?b=y&a=1&b=x&c=true") == 501
        assert status(router, "GET", f"{API}/p?a=1") == 501
        router.get("/h", headers={"X-Key": "k", "accept": re.compile("json")})
        assert status(router, "GET", f"{API}/h", x_key="k", accept="text/json") == 200
        assert status(router, "GET", f"{API}/h", x_key="K", accept="text/json") == 501
        assert status(router, "GET", f"{API}/h", x_key="k") == 501
        router.post("/j", json={"a": [1, None]})
        assert status(router, "POST", f"{API}/j", b'{ "a": [1, null]}') == 200
        assert status(router, "POST", f"{API}/j", b'{"a": [1]}') == 501
        assert status(router, "POST", f"{API}/j", b"{") == 501
        router.post("/null", json=None)
        assert status(router, "POST", f"{API}/null", b"null") == 200
        assert status(router, "POST", f"{API}/null", b"0") == 501
        router.post("/c", content="grün")
        assert status(router, "POST", f"{API}/c", "grün".encode()) == 200
        assert status(router, "POST", f"{API}/c", b"gr") == 501


def test_the_first_route_that_matches_answers() -> None:
    with MockRouter() as router:
        router.get("/x").respond(201).times(2)
        router.get("/*").respond(202)
        router.post("/x").respond(203)
        assert [status(router, "GET", f"{API}/x") for _ in range(3)] == [201, 201, 202]
        assert status(router, "POST", f"{API}/x") == 203


def test_every_method_has_its_route() -> None:
    with MockRouter(assert_all_called=True) as router:
        for method in ["get", "post", "put", "patch", "delete", "head", "options"]:
            getattr(router, method)("/x").respond(headers={"x-method": method})
        router.route("brew", "/x").respond(headers={"x-method": "brew"})
        for method in ["get", "post", "put", "patch", "delete", "head", "options", "brew"]:
            assert ask(router, method.upper(), f"{API}/x").headers["x-method"] == method


# --- what it remembers


def test_calls_tell_what_was_asked() -> None:
    with MockRouter() as router:
        route = router.post(f"{API}/users/{{id}}")
        other = router.get("/other")
        ask(router, "POST", f"{API}/users/7?a=1&a=2&b=%C3%BC", b'{"x": 1}', x_one="1")
        ask(router, "GET", f"{API}/other")
        call = route.calls[0]
        assert (call.method, call.path, call.content) == ("POST", "/users/7", b'{"x": 1}')
        assert call.url == f"{API}/users/7?a=1&a=2&b=%C3%BC"
        assert call.json() == {"x": 1}
        assert call.params == {"a": "2", "b": "ü"}
        assert call.query == [("a", "1"), ("a", "2"), ("b", "ü")]
        assert call.path_params == {"id": "7"}
        assert call.headers["X-One"] == call.headers["x-one"] == "1"
        assert call.headers.get("missing") is None
        assert other.calls[0].url == "http://api.example.com/other"
        assert route.called
        assert route.call_count == 1
        assert router.calls == [call, other.calls[0]]


def test_a_chunked_upload_is_put_together() -> None:
    with MockRouter() as router:
        route = router.post("/").respond()
        assert status(router, "POST", API, iter([b"one,", b"two"]), transfer_encoding="chunked")
        assert route.calls[0].content == b"one,two"


def test_reset_forgets_requests_and_starts_sequences_anew() -> None:
    with MockRouter() as router:
        route = router.get("/x").respond(201).respond(202)
        assert [status(router, "GET", f"{API}/{path}") for path in "xxy"] == [201, 202, 501]
        router.reset()
        assert (router.calls, router.unexpected, route.calls) == ([], [], [])
        assert status(router, "GET", f"{API}/x") == 201


# --- what it complains of


def test_a_request_without_a_route_is_answered_and_raised_on_exit() -> None:
    with pytest.raises(AssertionError) as caught, MockRouter() as router:
        router.post(f"{API}/users")
        router.get("/once").times(1)
        answer: Any = ask(router, "GET", f"{API}/users?a=1")
        assert answer.status == 501
        assert b"unexpected request GET http://api.example.com/users?a=1" in answer.content
        assert [status(router, "GET", f"{API}/once") for _ in range(2)] == [200, 501]
        assert [call.path for call in router.unexpected] == ["/users", "/once"]
    assert str(caught.value).splitlines() == [
        "unexpected request GET http://api.example.com/users?a=1",
        "    POST https://api.example.com/users: another method",
        "    GET /once: another URL",
        "unexpected request GET http://api.example.com/once",
        "    POST https://api.example.com/users: another method",
        "    GET /once: was to be called once and has been",
    ]


def test_requests_without_a_route_may_be_allowed() -> None:
    with MockRouter(assert_all_mocked=False) as router:
        assert status(router, "GET", API) == 501
        assert len(router.calls) == len(router.unexpected) == 1


def test_routes_without_a_request_are_told_when_asked() -> None:
    with pytest.raises(AssertionError) as caught, MockRouter(assert_all_called=True) as router:
        router.get("/never")
        router.get("/twice").times(2)
        router.get("/yes")
        ask(router, "GET", f"{API}/twice")
        ask(router, "GET", f"{API}/yes")
        with pytest.raises(AssertionError):
            router.assert_all_called()
    assert str(caught.value).splitlines() == [
        "GET /never was never called",
        "GET /twice was called once, not 2 times",
    ]


def test_an_error_that_leaves_the_block_is_kept_and_explained() -> None:
    with pytest.raises(KeyError) as caught, MockRouter() as router:
        ask(router, "GET", f"{API}/x")
        raise KeyError
    assert caught.value.__notes__ == ["unexpected request GET http://api.example.com/x"]


def test_it_has_an_address_only_while_it_runs() -> None:
    router = MockRouter()
    router.get("/")
    for _ in range(2):
        with pytest.raises(offloop.LifecycleError):
            _ = router.address
        with router:
            assert status(router, "GET", API) == 200
            assert len(router.calls) == 1
            with pytest.raises(RuntimeError):
                router.__enter__()
    assert not [thread for thread in threading.enumerate() if thread.name == "offloop-testing"]


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


# --- with offloop's own client


def test_all_connections_of_a_client_lead_to_the_router(run: Run[None]) -> None:
    async def main() -> None:
        async with MockRouter() as router, router.client(base_url=API) as client:
            route = router.get(f"{API}/users/{{id}}").respond(json={"name": "Ada"})
            router.post("http://other.example:8080/").respond(201)
            answer = await client.get("/users/7", params={"a": 1})
            assert (answer.json(), answer.url) == ({"name": "Ada"}, f"{API}/users/7?a=1")
            assert route.calls[0].params == {"a": "1"}
            answer = await client.post("http://other.example:8080/", json=[1])
            assert answer.status_code == 201
            assert router.calls[1].json() == [1]
        assert client.is_closed

    run(main())


def test_a_client_may_be_made_by_hand_and_outlive_its_requests(run: Run[None]) -> None:
    async def main() -> None:
        async with MockRouter() as router:
            router.get("*").respond(content=[b"one\n", b"two\n"])
            async with offloop.Client(transport=router) as client:
                async with client.stream("GET", f"{API}/lines") as answer:
                    assert [line async for line in answer.aiter_lines()] == ["one", "two"]

    run(main())


def test_redirects_between_hosts_stay_with_the_router(run: Run[None]) -> None:
    async def main() -> None:
        async with MockRouter(assert_all_called=True) as router, router.client() as client:
            router.get(f"{API}/a").respond(302, headers={"location": "https://b.example/b"})
            end = router.get("https://b.example/b").respond(text="there")
            answer = await client.get(f"{API}/a", headers={"authorization": "secret"})
            assert (answer.text, answer.url) == ("there", "https://b.example/b")
            assert "authorization" not in end.calls[0].headers

    run(main())


def test_retries_can_be_tested(run: Run[None]) -> None:
    async def main() -> None:
        # Without `retry_stale`, which replays on a fresh connection and calls it one attempt.
        options: Any = {"retries": offloop.Retry(attempts=4, backoff=0.001), "retry_stale": False}
        async with MockRouter() as router, router.client(**options) as client:
            route = router.get(API).reset().too_many_requests(retry_after=0).close().respond(200)
            answer = await client.get(API)
            assert answer.status_code == 200
            assert route.call_count == 4
            assert [attempt.status for attempt in answer.attempts] == [None, 429, None, 200]

    run(main())


@pytest.mark.parametrize("fault", ["reset", "close", "garbage", "truncate", "stall", "stall body"])
def test_each_fault_is_its_error(run: Run[None], fault: str) -> None:
    broken = (offloop.ConnectError, offloop.ProtocolError)

    async def main() -> None:
        async with MockRouter() as router, router.client(timeout=0.5) as client:
            route = router.get(API)
            expected: Any = offloop.FetchTimeout
            if fault == "stall body":
                route.stall(after=5)
            elif fault == "truncate":
                route.truncate(after=5, content=b"0123456789")
                expected = offloop.TruncatedBody
            else:
                getattr(route, fault)()
                expected = {"stall": expected, "garbage": offloop.ProtocolError}.get(fault, broken)
            route.respond(200)
            with pytest.raises(expected) as caught:
                await client.get(API)
            if fault == "truncate":
                assert (caught.value.received, caught.value.expected) == (5, 10)
            assert (await client.get(API)).status_code == 200

    run(main())


def test_one_router_serves_several_loops_at_once() -> None:
    async def main(router: MockRouter) -> list[int]:
        async with router.client() as client:
            answers = await asyncio.gather(*(client.get(f"{API}/{n}") for n in range(20)))
            return [answer.json() for answer in answers]

    results: list[list[int]] = []
    with MockRouter() as router:
        route = router.get("/{n}").handle(lambda request: Reply(json=int(request.path_params["n"])))
        threads = [
            threading.Thread(target=lambda: results.append(asyncio.run(main(router))))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [list(range(20))] * 4
        assert route.call_count == 80


# --- the pytest plugin

SUITE = """
    import urllib.request

    def ask(router, path):
        with urllib.request.urlopen(f"http://{router.address}{path}") as answer:
            return answer.read()

    def test_good(offloop_router):
        offloop_router.get("/x").respond(text="hello")
        assert ask(offloop_router, "/x") == b"hello"

    def test_unexpected(offloop_router):
        try:
            ask(offloop_router, "/y")
        except OSError as error:
            error.close()
"""


def test_the_fixture_is_verified_when_the_test_has_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    registered = "offloop" in entry_points(group="pytest11").names
    named = [] if registered else ["-p", "offloop.testing.pytest_plugin"]
    result = pytester.runpytest_subprocess(*named)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: unexpected request GET http://*/y*"])
