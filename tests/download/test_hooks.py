"""Hooks of a client see its downloads, as they see its other requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from conftest import Run
from servers import Server

SIZE = 200_000


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_hooks_see_the_request_and_the_response_of_a_download(
    run: Run[Any], ranges: Server, tmp_path: Path, kind: str
) -> None:
    seen: list[Any] = []

    def before(request: offloop.Request) -> None:
        seen.append((request.method, request.url))

    def after(response: offloop.Response) -> None:
        assert (tmp_path / "x").exists()
        assert response.headers["content-length"] == str(SIZE)
        assert response.num_bytes_downloaded == SIZE
        with pytest.raises(offloop.LifecycleError):
            _ = response.content  # it is in the file
        seen.append((response.status_code, response.url))

    async def before_async(request: offloop.Request) -> None:
        await asyncio.sleep(0)
        before(request)

    async def after_async(response: offloop.Response) -> None:
        await asyncio.sleep(0)
        after(response)

    plain = kind == "plain"
    hooks: Any = {
        "request": [before if plain else before_async],
        "response": [after if plain else after_async],
    }
    url = f"{ranges.url}/honest/{SIZE}/x"
    told: list[offloop.Progress] = []

    async def main() -> list[Any]:
        async with offloop.Client(hooks=hooks) as client:
            first = await client.download(url, tmp_path, progress=told.append)
            assert seen == [("GET", url), (200, url)]
            many = client.downloads([url], tmp_path, overwrite=True)
            return [first, *[got.saved async for got in many]]

    saved = run(main())
    assert [one.bytes for one in saved] == [SIZE, SIZE]
    assert seen == [("GET", url), (200, url)] * 2
    assert told[-1].phase == "done"


def test_the_response_of_a_download_says_how_it_came(
    told: Server, ranges: Server, tmp_path: Path
) -> None:
    target = f"{ranges.url}/honest/{SIZE}/x"
    url = f"{told.url}/told?status=302&header={quote('location: ' + target, safe='')}"
    seen: list[offloop.Response] = []

    async def main() -> None:
        async with offloop.Client(hooks={"response": [seen.append]}) as client:
            await client.download(url, tmp_path / "x")

    asyncio.run(main())
    (response,) = seen
    assert response.url == target
    assert [(each.status_code, each.url) for each in response.history] == [(302, url)]
    assert [attempt.status for attempt in response.attempts] == [200]
    timings = response.timings
    assert timings["connect"] > 0
    assert timings["first_byte"] > 0
    assert timings["body"] > 0
    assert response.elapsed.total_seconds() >= timings["first_byte"] + timings["body"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_hooks_see_a_refused_download_and_may_fail_a_good_one(
    server: Server, ranges: Server, tmp_path: Path, kind: str
) -> None:
    seen: list[int] = []

    def after(response: offloop.Response) -> None:
        seen.append(response.status_code)
        if response.status_code == 200:
            raise ValueError("the hook's own")

    async def after_async(response: offloop.Response) -> None:
        after(response)

    async def main() -> None:
        hooks: Any = {"response": [after if kind == "plain" else after_async]}
        async with offloop.Client(hooks=hooks, base_url=ranges.url) as client:
            with pytest.raises(offloop.StatusError):
                await client.download(f"{server.url}/nothing", tmp_path / "a")
            with pytest.raises(ValueError, match="the hook's own"):
                await client.download("/honest/10/x", tmp_path / "b")
            with pytest.raises(offloop.TruncatedBody):
                await client.download("/honest/100000/x?cut=5", tmp_path / "c")

    asyncio.run(main())
    assert seen[0] == 404
    assert seen[1:] == [200], "what has broken off is no response"
    assert (tmp_path / "b").read_bytes()
