"""Each phase of a request has its own limit and its own class of `TimeoutError` (FAULTS P5, P8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import offloop
from servers import Server, serve

LIMIT = 0.3


@pytest.fixture(scope="module")
def broken() -> Iterator[Server]:
    with serve("broken") as running:
        yield running


async def port_of(server: Server, kind: str) -> int:
    async with offloop.Client() as client:
        port: int = (await client.get(f"{server.url}/ports")).json()[kind]
        return port


async def times_out(
    work: Any, expected: type[offloop.FetchTimeout], phase: str, limit: float = LIMIT
) -> Any:
    """Ends with exactly this class in this phase, not much before or after its limit."""
    began = time.monotonic()
    with pytest.raises(offloop.FetchTimeout) as caught:
        await work
    took = time.monotonic() - began
    error = caught.value
    assert type(error) is expected, repr(error)
    assert isinstance(error, TimeoutError)
    assert error.phase == phase, repr(error)
    assert error.seconds == limit
    assert limit - 0.05 < took < limit + 3
    return error


def client_with(**limits: Any) -> offloop.Client:
    return offloop.Client(timeout=offloop.Timeout(**limits))


async def stream(client: offloop.Client, url: str, **options: Any) -> bytes:
    async with client.stream("GET", url, **options) as response:
        return b"".join([part async for part in response.aiter_bytes()])


async def several(client: offloop.Client, server: Server, *works: Any) -> None:
    """All at once, and then a request that works."""
    await asyncio.gather(*works)
    assert (await client.get(f"{server.url}/mine/own")).content == b"own"


def test_connecting(broken: Server) -> None:
    async def main() -> None:
        port = await port_of(broken, "full")
        async with client_with(connect=LIMIT) as client:
            url = f"http://127.0.0.1:{port}/"
            works = [times_out(client.get(url), offloop.ConnectTimeout, "connect")]
            await several(client, broken, *works)

    asyncio.run(main())


def test_waiting_for_a_connection(broken: Server) -> None:
    async def main() -> None:
        limits = offloop.Limits(per_host=1)
        async with offloop.Client(limits=limits, timeout=offloop.Timeout(pool=LIMIT)) as client:
            url = f"{broken.url}/stall/before"
            blocker = client.get(url).start()
            works = [times_out(client.get(url), offloop.PoolTimeout, "queue") for _ in range(5)]
            await asyncio.gather(*works)
            blocker.cancel()
            await several(client, broken)

    asyncio.run(main())


HEADS = (
    "stall/before",
    "stall/in-the-head",
    "endless/103",
    "endless/103-flood",
    "endless/100",
    "endless/102",
    "endless/dribbled-field",
    "endless/dribbled-status-line",
)


def test_waiting_for_the_head(broken: Server) -> None:
    """However busy the server is with other things: only the whole head counts."""

    async def main() -> None:
        async with client_with(read=LIMIT) as client:
            port = await port_of(broken, "hang")
            urls = [f"http://127.0.0.1:{port}/", *(f"{broken.url}/{path}" for path in HEADS)]
            for read in (client.get, lambda url: stream(client, url)):
                works = [times_out(read(url), offloop.ReadTimeout, "head") for url in urls]
                await several(client, broken, *works)
            post = client.post(f"{broken.url}/upload/100-flood", content=b"x" * 100)
            await several(client, broken, times_out(post, offloop.ReadTimeout, "head"))

    asyncio.run(main())


BODIES = (
    "stall/before-the-body",
    "stall/in-the-body",
    "stall/in-a-chunk",
    "stall/between-chunks",
    "stall/in-the-trailer",
    "stall/until-close",
    "endless/dribbled-chunk-size",
    "endless/chunk-size",
)


def test_waiting_for_the_body(broken: Server) -> None:
    async def main() -> None:
        async with client_with(read=LIMIT) as client:
            for read in (client.get, lambda url: stream(client, url)):
                urls = [f"{broken.url}/{path}" for path in BODIES]
                works = [times_out(read(url), offloop.ReadTimeout, "body") for url in urls]
                await several(client, broken, *works)

    asyncio.run(main())


def test_a_body_that_dribbles_is_stalled(broken: Server) -> None:
    """Each byte comes within the read timeout, and yet it would take for ever."""

    async def main() -> None:
        async with client_with(read=1, stall=(1024, LIMIT)) as client:
            for read in (client.get, lambda url: stream(client, url)):
                kinds = ("dribbled-body", "dribbled-chunks")
                urls = [f"{broken.url}/endless/{kind}" for kind in kinds]
                works = [times_out(read(url), offloop.Stalled, "body") for url in urls]
                await several(client, broken, *works)

    asyncio.run(main())


def test_a_body_above_the_least_speed_is_not_stalled(broken: Server) -> None:
    async def main() -> None:
        timeout = offloop.Timeout(read=1, stall=(5, LIMIT), total=2 * LIMIT)
        async with offloop.Client(timeout=timeout) as client:
            url = f"{broken.url}/endless/dribbled-body"
            await times_out(client.get(url), offloop.TotalTimeout, "body", 2 * LIMIT)

    asyncio.run(main())


def test_a_reader_that_takes_its_time_is_not_a_stall(broken: Server) -> None:
    async def main() -> None:
        async with client_with(read=LIMIT, stall=(1024, LIMIT)) as client:
            async with client.stream("GET", f"{broken.url}/endless/body") as response:
                parts = response.aiter_bytes()
                for _ in range(3):
                    assert await anext(parts)
                    await asyncio.sleep(1.5 * LIMIT)
            await several(client, broken)

    asyncio.run(main())


def test_sending(broken: Server) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(3600)

    async def main() -> None:
        async with client_with(write=LIMIT, read=5) as client:
            url = f"{broken.url}/upload/never-read"
            bodies: list[Any] = [b"x" * (64 << 20), endless(), stuck()]
            works = [
                times_out(client.post(url, content=body), offloop.WriteTimeout, "send")
                for body in bodies
            ]
            await several(client, broken, *works)

    asyncio.run(main())


PHASES = {
    "connect": None,
    "head": "stall/before",
    "body": "stall/in-the-body",
}


@pytest.mark.parametrize("form", ["number", "timedelta", "Timeout", "of the client"])
def test_the_total_covers_every_phase(broken: Server, form: str) -> None:
    import datetime

    given: Any = {
        "number": LIMIT,
        "timedelta": datetime.timedelta(seconds=LIMIT),
    }.get(form, offloop.Timeout(total=LIMIT))

    async def main() -> None:
        options = {"timeout": given} if form != "of the client" else {}
        client = offloop.Client(**({} if options else {"timeout": given}))
        full = await port_of(broken, "full")
        async with client:
            works = []
            for phase, path in PHASES.items():
                url = f"{broken.url}/{path}" if path else f"http://127.0.0.1:{full}/"
                # A total that the caller gave covers the body of a stream, too.
                works.append(times_out(client.get(url, **options), offloop.TotalTimeout, phase))
                works.append(times_out(stream(client, url, **options), offloop.TotalTimeout, phase))
            await several(client, broken, *works)

    asyncio.run(main())


def test_the_total_covers_redirects_and_retries(broken: Server) -> None:
    async def main() -> None:
        async with offloop.Client(max_redirects=1_000_000) as client:
            began = time.monotonic()
            with pytest.raises(offloop.TotalTimeout):
                await client.get(f"{broken.url}/maze/", timeout=LIMIT)
            retry = offloop.Retry(attempts=1000, budget=1, statuses=(404,), backoff=0.01)
            with pytest.raises(offloop.TotalTimeout) as caught:
                await client.get(f"{broken.url}/nowhere", timeout=LIMIT, retries=retry)
            assert len(caught.value.attempts) > 1
            assert time.monotonic() - began < 2 * LIMIT + 2
            await several(client, broken)

    asyncio.run(main())


def test_none_switches_a_limit_off(broken: Server) -> None:
    async def main() -> None:
        timeout = offloop.Timeout(read=None, connect=None, pool=None, write=None, stall=None)
        async with offloop.Client(timeout=timeout) as client:
            job = client.get(f"{broken.url}/stall/in-the-body").start()
            await asyncio.sleep(LIMIT)
            assert not job.done()
            job.cancel()
            job = client.get(f"{broken.url}/stall/in-the-body", timeout=None).start()
            await asyncio.sleep(LIMIT)
            assert not job.done()
            job.cancel()
            await several(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), "soon", (1, 2)])
def test_limits_that_make_no_sense_are_refused_at_the_call(broken: Server, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        offloop.fetch(broken.url, timeout=wrong)
    for name in ("total", "pool", "connect", "read", "write"):
        with pytest.raises((TypeError, ValueError)):
            offloop.Client(timeout=offloop.Timeout(**{name: wrong}))
