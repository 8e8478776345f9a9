"""How many requests and connections a client has at once, as the server counts them.

The server is `tests/servers/counting.py`; to it, 127.0.0.1 and 127.0.0.2 are one place.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import offloop
from servers import Server, serve


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with serve("counting") as running:
        yield running


@pytest.fixture
def counting(shared: Server) -> Server:
    report(shared, "forget")
    return shared


def report(server: Server, path: str = "report") -> Any:
    with urllib.request.urlopen(f"{server.url}/{path}", timeout=10) as answer:
        return json.load(answer)


def elsewhere(server: Server) -> str:
    return f"http://127.0.0.2:{server.port}"


async def hold(client: offloop.Client, base: str, count: int, seconds: float = 0.02) -> None:
    urls = [f"{base}/hold/{seconds}/{number}" for number in range(count)]
    for number, got in enumerate(await asyncio.gather(*(client.get(url) for url in urls))):
        assert got.content == str(number).encode()


@pytest.mark.parametrize("width", [1, 3, 10])
def test_a_host_never_has_more_than_its_share(counting: Server, width: int) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(per_host=width)) as client:
            await hold(client, counting.url, 10 * width)

    asyncio.run(main())
    got = report(counting)
    assert got["peak"]["all"] == width
    assert got["connections"] == width + 1  # the report came by one of its own


def test_all_hosts_together_never_have_more_than_all(counting: Server) -> None:
    async def main() -> None:
        limits = offloop.Limits(connections=4, per_host=3)
        async with offloop.Client(limits=limits) as client:
            await asyncio.gather(
                hold(client, counting.url, 30), hold(client, elsewhere(counting), 30)
            )

    asyncio.run(main())
    peak = report(counting)["peak"]
    assert peak["all"] == 4
    assert 1 <= peak["127.0.0.1"] <= 3
    assert 1 <= peak["127.0.0.2"] <= 3


def test_an_idle_connection_makes_room_for_another_host(counting: Server) -> None:
    async def main() -> None:
        limits = offloop.Limits(connections=1, per_host=1)
        timeout = offloop.Timeout(pool=1)
        async with offloop.Client(limits=limits, timeout=timeout) as client:
            for _ in range(5):
                for base in (counting.url, elsewhere(counting)):
                    assert (await client.get(f"{base}/hold/0/x")).content == b"x"

    asyncio.run(main())


def test_the_default_is_20_per_host(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            await hold(client, counting.url, 100)

    asyncio.run(main())
    assert report(counting)["peak"]["all"] == 20


@pytest.mark.parametrize("limit", ["requests", "per_host_requests"])
def test_requests_are_limited_by_themselves(counting: Server, limit: str) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(**{limit: 2})) as client:
            await hold(client, counting.url, 20)

    asyncio.run(main())
    assert report(counting)["peak"]["all"] == 2


def test_waiting_requests_are_served_in_their_order(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(connections=1)) as client:
            await hold(client, counting.url, 200, 0)

    asyncio.run(main())
    assert report(counting)["order"] == [str(number) for number in range(200)]


def test_a_busy_host_does_not_hold_up_another(counting: Server) -> None:
    async def main() -> None:
        limits = offloop.Limits(connections=10, per_host=2)
        async with offloop.Client(limits=limits) as client:
            busy = [client.get(f"{counting.url}/hold/3/b{n}").start() for n in range(10)]
            began = time.monotonic()
            await hold(client, elsewhere(counting), 4, 0)
            assert time.monotonic() - began < 2
            for one in busy:
                one.cancel()

    asyncio.run(main())


def test_a_connection_is_held_to_the_end_of_the_body(counting: Server) -> None:
    async def main() -> None:
        limits = offloop.Limits(per_host=1)
        async with offloop.Client(limits=limits) as client:
            async with client.stream("GET", f"{counting.url}/gate/held") as response:
                waits = client.get(f"{counting.url}/hold/0/next").start()
                with pytest.raises(offloop.PoolTimeout) as caught:
                    await client.get(
                        f"{counting.url}/hold/0/late", timeout=offloop.Timeout(pool=0.2)
                    )
                assert (caught.value.phase, caught.value.seconds) == ("queue", 0.2)
                assert not waits.done()
                await asyncio.to_thread(report, counting, "report")
                urllib.request.urlopen(f"{counting.url}/open/held", timeout=10).close()
                assert await response.aread() == b"half whole"
            assert (await waits).content == b"next"

    asyncio.run(main())
    assert "late" not in report(counting)["order"]


def test_a_total_timeout_covers_the_queue(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(per_host=1)) as client:
            first = client.get(f"{counting.url}/hold/0.5/first").start()
            with pytest.raises(offloop.TotalTimeout) as caught:
                await client.get(f"{counting.url}/hold/0/second", timeout=0.2)
            assert (caught.value.phase, caught.value.seconds) == ("queue", 0.2)
            await first

    asyncio.run(main())
    assert "second" not in report(counting)["order"]


@pytest.mark.parametrize("moment", ["queued", "running"])
def test_a_cancelled_request_gives_its_place_back(counting: Server, moment: str) -> None:
    async def main() -> None:
        limits = offloop.Limits(connections=2, per_host=2)
        async with offloop.Client(limits=limits, timeout=offloop.Timeout(pool=2)) as client:
            for _ in range(20):
                seconds = 0.02 if moment == "queued" else 5
                jobs = [client.get(f"{counting.url}/hold/{seconds}/{n}").start() for n in range(10)]
                await asyncio.sleep(0.01)
                for job in jobs[2:] if moment == "queued" else jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
            await hold(client, counting.url, 20, 0)

    asyncio.run(main())
    if moment == "queued":
        assert report(counting)["peak"]["all"] == 2


@pytest.mark.parametrize("ending", ["left", "closed", "failed"])
def test_a_stream_gives_its_place_back_however_it_ends(counting: Server, ending: str) -> None:
    async def main() -> None:
        limits = offloop.Limits(per_host=1)
        async with offloop.Client(limits=limits, timeout=offloop.Timeout(pool=1)) as client:
            for number in range(10):
                async with client.stream("GET", f"{counting.url}/gate/never-{number}") as response:
                    if ending == "closed":
                        await response.aclose()
                    elif ending == "failed":
                        with pytest.raises(TimeoutError):
                            async with asyncio.timeout(0.02):
                                await response.aread()
                assert response.is_closed
            await hold(client, counting.url, 3, 0)

    asyncio.run(main())


def test_an_idle_connection_is_closed_in_time(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(idle=0.2)) as client:
            await hold(client, counting.url, 5, 0)
            give_up = time.monotonic() + 2
            while report(counting)["open"]:
                assert time.monotonic() < give_up
                await asyncio.sleep(0.02)
            await hold(client, counting.url, 5, 0)

    asyncio.run(main())


def test_a_rate_is_kept_for_each_host(counting: Server) -> None:
    """At most a bucket of one second's worth at once, then the rate."""
    rate, count = 100.0, 200

    async def main() -> None:
        limits = offloop.Limits(rate=rate, per_host=100)
        async with offloop.Client(limits=limits) as client:
            await hold(client, counting.url, count, 0)

    asyncio.run(main())
    times = sorted(at for moments in report(counting)["times"].values() for at in moments)
    assert len(times) == count
    for start in range(0, count, 10):
        for end in range(start + 1, count, 10):
            assert end - start <= rate * (times[end] - times[start] + 0.1) + rate
    assert times[-1] - times[0] < count / rate + 1


def test_stats_count_what_the_server_counts(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(per_host=2)) as client:
            await hold(client, counting.url, 10, 0)
            stats = client.stats()
            assert isinstance(stats, dict)
            jobs = [client.get(f"{counting.url}/hold/0.3/{n}").start() for n in range(5)]
            await asyncio.sleep(0.1)
            busy = client.stats()
            assert (busy["in_flight"], busy["queued"]) == (2, 3)
            await asyncio.gather(*jobs)
            idle = client.stats()
            assert (idle["in_flight"], idle["queued"]) == (0, 0)

    asyncio.run(main())
