"""Hooks that are awaited: in order, in the task's loop, cancelled with the request."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import offloop
from conftest import Run
from servers import Server, serve


@pytest.fixture(scope="module")
def counting() -> Iterator[Server]:
    with serve("counting") as running:
        yield running


def test_hooks_are_awaited_in_order_around_the_request(run: Run[Any], server: Server) -> None:
    seen: list[object] = []

    async def before(request: offloop.Request) -> None:
        seen.append(("before", request.method, request.url))
        await asyncio.sleep(0)
        seen.append("before is over")

    def plain(request: offloop.Request) -> None:
        seen.append("plain")

    async def after(number: int, response: offloop.Response) -> None:
        await asyncio.sleep(0)
        seen.append((number, response.status_code, threading.current_thread()))

    async def main() -> None:
        hooks: Any = {
            "request": [before, plain],
            "response": [functools.partial(after, 1), functools.partial(after, 2)],
        }
        async with offloop.Client(hooks=hooks) as client:
            job = client.get(f"{server.url}/1k")
            assert isinstance(job, offloop.Job)
            assert seen == []  # nothing begins before somebody waits for it
            response = await job
            assert len(response.content) == 1024
            here = threading.current_thread()
            url = f"{server.url}/1k"
            expected = ["plain", (1, 200, here), (2, 200, here)]
            assert seen == [("before", "GET", url), "before is over", *expected]
            async with client.stream("GET", url) as streamed:
                assert len(await streamed.aread()) == 1024
            assert streamed.is_closed
            many = await asyncio.gather(*(client.get(url) for _ in range(20)))
            assert {one.status_code for one in many} == {200}

    run(main())


@pytest.mark.parametrize("kind", ["request", "response"])
def test_what_an_async_hook_raises_is_the_request_s_error(server: Server, kind: str) -> None:
    async def hook(_: object) -> None:
        await asyncio.sleep(0)
        raise KeyError(kind)

    async def main() -> None:
        async with offloop.Client(hooks={kind: [hook]}) as client:  # type: ignore[misc]
            for method in (client.get, functools.partial(client.stream, "GET")):
                with pytest.raises(KeyError, match=kind):
                    await method(f"{server.url}/1k")
            assert client.stats()["requests"] == (0 if kind == "request" else 2)
            assert client.stats()["in_flight"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("moment", ["request", "waiting", "response"])
def test_cancelling_ends_the_hook_or_the_request(
    run: Run[Any], counting: Server, moment: str
) -> None:
    async def main() -> None:
        reached, ended = asyncio.Event(), []

        async def hook(_: object) -> None:
            reached.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append(moment)
                raise

        async def passing(_: object) -> None:
            if moment == "waiting":
                reached.set()

        hooks: Any = {"request": [passing]} if moment == "waiting" else {moment: [hook]}
        seconds = 60 if moment == "waiting" else 0
        async with offloop.Client(hooks=hooks) as client:
            task = asyncio.ensure_future(client.get(f"{counting.url}/hold/{seconds}/{moment}"))
            await asyncio.wait_for(reached.wait(), 10)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)
            assert ended == ([] if moment == "waiting" else [moment])
            async with asyncio.timeout(10):
                while client.stats()["in_flight"]:
                    await asyncio.sleep(0.01)

    run(main())


def test_a_plain_function_that_gives_an_awaitable_is_told_so(server: Server) -> None:
    async def later(_: object) -> None:
        raise AssertionError("nobody awaits this")

    async def main() -> None:
        for kind in ("request", "response"):
            hooks: Any = {kind: [lambda it: later(it)]}
            async with offloop.Client(hooks=hooks) as client:
                with pytest.raises(TypeError, match="make it an async function"):
                    await client.get(f"{server.url}/1k")

    asyncio.run(main())
