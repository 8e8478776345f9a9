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


def test_other_texts_with_lone_surrogates_are_refused_by_kind(server: Server) -> None:
    bad = "hunter2\ud800"
    client = offloop.Client(base_url=server.url)
    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (offloop.InvalidHeader, {"headers": {"x": bad}}),
        (offloop.InvalidHeader, {"headers": {bad: "x"}}),
        (offloop.InvalidHeader, {"headers": [("x", bad)]}),
        (offloop.InvalidHeader, {"cookies": {"x": bad}}),
        (offloop.InvalidHeader, {"cookies": {bad: "x"}}),
        (offloop.InvalidHeader, {"auth": ("ann", bad)}),
        (offloop.InvalidURL, {"params": {"x": bad}}),
        (offloop.InvalidURL, {"params": {bad: "x"}}),
        (offloop.InvalidURL, {"params": {"x": ["1", bad]}}),
        (offloop.InvalidURL, {"params": bad}),
        (ValueError, {"content": bad}),
        (ValueError, {"data": {"x": bad}}),
    ]
    for kind, options in cases:
        with pytest.raises(kind) as refused:
            client.request("POST", "/1k", **options)
        if kind is not ValueError:
            assert "hunter2" not in str(refused.value), options
            assert "lone surrogate" in str(refused.value)
    for kind, options in cases[:10]:
        if "auth" not in options:
            with pytest.raises(kind):
                offloop.Client(base_url=server.url, **options).get("/1k")
