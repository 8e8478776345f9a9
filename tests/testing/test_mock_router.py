"""`MockRouter`: routes, replies and what they remember."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from router_asks import API, ask, status

import offloop
from offloop.testing import MockRequest, MockRouter, Reply

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
