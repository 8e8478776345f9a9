"""Lone surrogates: no bytes stand for them, so they are refused wherever text goes out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import offloop
from servers import Server

BAD = "http://user:hunter2@x/\ud800?key=hunter2"


def check(error: offloop.InvalidURL) -> None:
    assert "lone surrogate" in str(error)
    assert "http://x/" in str(error)
    assert "hunter2" not in f"{error!s}{error!r}{error.url}"
    str(error).encode()
    assert error.url is not None
    error.url.encode()


def test_a_url_with_a_lone_surrogate_is_an_invalid_url_at_every_entry(tmp_path: Path) -> None:
    client = offloop.Client()
    asked = offloop.Client(auth=lambda _: {})
    entries: list[Any] = [
        lambda: offloop.fetch(BAD),
        lambda: offloop.fetch(BAD, method="POST"),
        lambda: offloop.fetch(BAD, auth=lambda _: {}),
        lambda: client.get(BAD),
        lambda: client.request("PUT", BAD),
        lambda: client.stream("GET", BAD),
        lambda: client.download(BAD, tmp_path),
        lambda: client.download(BAD, tmp_path, progress=print),
        lambda: asked.get(BAD),
        lambda: asked.download(BAD, tmp_path),
        lambda: offloop.download(BAD),
        lambda: offloop.Client(base_url=BAD),
        lambda: offloop.Request("GET", BAD),
    ]
    for entry in entries:
        with pytest.raises(offloop.InvalidURL) as refused:
            entry()
        check(refused.value)
    with pytest.raises(offloop.InvalidURL) as refused:
        offloop.Client(base_url="http://127.0.0.1").get("/\udcff")
    assert "lone surrogate" in str(refused.value)
    with pytest.raises(offloop.InvalidURL) as refused:
        offloop.Client(proxy="http://user:hunter2@x\ud800")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("hooked", [False, True])
def test_such_a_url_among_many_is_a_result_and_costs_the_others_nothing(
    server: Server, tmp_path: Path, hooked: bool
) -> None:
    good = f"{server.url}/1k"
    seen: list[Any] = []
    options: Any = {"hooks": {"response": [seen.append]}} if hooked else {}

    async def main() -> None:
        async with offloop.Client(**options) as client:
            urls = [good, BAD, good + "?2"]
            got = [it async for it in client.fetch_all(urls, ordered=True)]
            assert [it.error is None for it in got] == [True, False, True]
            assert isinstance(got[1].error, offloop.InvalidURL)
            check(got[1].error)
            assert got[1].url == BAD, "what was given is not lost"
            saved = [it async for it in client.downloads([BAD, good], tmp_path)]
            errors = {it.url: type(it.error) for it in saved}
            assert errors == {BAD: offloop.InvalidURL, good: type(None)}

    asyncio.run(main())
    assert len(seen) == (3 if hooked else 0)


SECRET = "hunter2\ud800"
TYPED = ("f", b"x", "text/plain")

REQUESTS: list[tuple[type[Exception], dict[str, Any]]] = [
    (offloop.InvalidHeader, {"headers": {"x": SECRET}}),
    (offloop.InvalidHeader, {"headers": {SECRET: "x"}}),
    (offloop.InvalidHeader, {"headers": [("x", SECRET)]}),
    (offloop.InvalidHeader, {"cookies": {"x": SECRET}}),
    (offloop.InvalidHeader, {"cookies": {SECRET: "x"}}),
    (offloop.InvalidHeader, {"auth": ("ann", SECRET)}),
    (offloop.InvalidHeader, {"auth": (SECRET, "x")}),
    (offloop.InvalidURL, {"params": {"x": SECRET}}),
    (offloop.InvalidURL, {"params": {SECRET: "x"}}),
    (offloop.InvalidURL, {"params": {"x": ["1", SECRET]}}),
    (offloop.InvalidURL, {"params": SECRET}),
    (offloop.InvalidBody, {"content": SECRET}),
    (offloop.InvalidBody, {"data": SECRET}),
    (offloop.InvalidBody, {"data": {"x": SECRET}}),
    (offloop.InvalidBody, {"data": {"x": ["1", SECRET]}}),
    (offloop.InvalidBody, {"data": {SECRET: "x"}}),
    (offloop.InvalidBody, {"json": {"x": SECRET}}),
    (offloop.InvalidBody, {"json": {SECRET: "x"}}),
    (offloop.InvalidBody, {"json": SECRET}),
    (offloop.InvalidBody, {"files": {"x": ("f", SECRET)}}),
    (offloop.InvalidBody, {"files": {"x": b"x"}, "data": {"y": SECRET}}),
    (offloop.InvalidHeader, {"files": {"x": b"x"}, "data": {SECRET: "y"}}),
    (offloop.InvalidHeader, {"files": {SECRET: b"x"}}),
    (offloop.InvalidHeader, {"files": {"x": (SECRET, b"x")}}),
    (offloop.InvalidHeader, {"files": {"x": ("f", b"x", SECRET)}}),
    (offloop.InvalidHeader, {"files": {"x": (*TYPED, {"x": SECRET})}}),
]


def is_typed(kind: type[Exception], refused: pytest.ExceptionInfo[Exception]) -> None:
    error = refused.value
    assert type(error) is kind
    assert "lone surrogate" in str(error)
    assert "hunter2" not in f"{error!s}{error!r}{error.__cause__!r}"
    str(error).encode()


@pytest.mark.parametrize(("kind", "options"), REQUESTS)
def test_text_of_a_request_is_refused_by_where_it_was_to_go(
    server: Server, kind: type[Exception], options: dict[str, Any]
) -> None:
    with pytest.raises(kind) as refused:
        offloop.Client(base_url=server.url).request("POST", "/1k", **options)
    is_typed(kind, refused)
    if options.keys() <= {"headers", "cookies", "auth", "params"}:
        with pytest.raises(kind) as refused:
            offloop.Client(base_url=server.url, **options).get("/1k")
        is_typed(kind, refused)


@pytest.mark.parametrize(
    "make",
    [
        lambda: offloop.BasicAuth("ann", SECRET),
        lambda: offloop.BasicAuth(SECRET, "x"),
        lambda: offloop.DigestAuth("ann", SECRET),
        lambda: offloop.BearerAuth(SECRET),
        lambda: offloop.Request("GET", "http://x/", headers={"x": SECRET}),
        lambda: offloop.Cookies().set(SECRET, "x", domain="x.org"),
        lambda: offloop.Cookies().set("x", SECRET, domain="x.org"),
        lambda: offloop.Cookies().set("x", "y", domain=SECRET),
        lambda: offloop.Cookies().set("x", "y", domain="x.org", path=SECRET),
        lambda: offloop.Client().request(SECRET, "http://x/"),
        lambda: offloop.Client().stream(SECRET, "http://x/"),
        lambda: offloop.Client(auth=lambda _: {}).request(SECRET, "http://x/"),
        lambda: offloop.Request(SECRET, "http://x/"),
    ],
)
def test_text_for_the_head_of_a_request_is_refused_where_it_is_given(make: Any) -> None:
    with pytest.raises(offloop.InvalidHeader) as refused:
        make()
    is_typed(offloop.InvalidHeader, refused)


def test_headers_that_a_function_adds_are_refused_by_kind(server: Server) -> None:
    async def main() -> None:
        with pytest.raises(offloop.InvalidHeader) as refused:
            await offloop.fetch(f"{server.url}/1k", auth=lambda _: {"x": SECRET})
        is_typed(offloop.InvalidHeader, refused)

    asyncio.run(main())


def test_no_checksum_has_a_lone_surrogate(tmp_path: Path) -> None:
    with pytest.raises(offloop.InvalidChecksum):
        offloop.download("http://127.0.0.1:1/x", tmp_path, checksum=SECRET)


def test_what_json_does_not_have_is_refused_by_kind() -> None:
    ring: list[Any] = []
    ring.append(ring)
    for value in (float("nan"), float("-inf"), ring):
        with pytest.raises(offloop.InvalidBody, match="is no JSON"):
            offloop.Client().post("http://x/", json=value)
