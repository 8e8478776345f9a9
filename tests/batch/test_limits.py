"""How much is under way at once, at whose cost, and how fast: as the server sees it."""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import Any

import pytest

import offloop
from batch.conftest import Counting

pytestmark = pytest.mark.once


def fetch(urls: Any, client: dict[str, Any] | None = None, **options: Any) -> list[offloop.Fetched]:
    """All results, in the order in which they came."""

    async def main() -> list[offloop.Fetched]:
        async with offloop.Client(**(client or {})) as made:
            return [got async for got in made.fetch_all(urls, **options)]

    return asyncio.run(main())


def hosts_of(counting: Counting, hosts: int, each: int, seconds: float) -> list[str]:
    return [
        f"{counting.host(host)}/hold/{seconds}/{host}-{number}"
        for number in range(each)
        for host in range(1, hosts + 1)
    ]


@pytest.mark.parametrize(("limit", "per_host"), [(10, 3), (7, 7), (1, 1), (40, 5)])
def test_neither_the_limit_nor_a_hosts_share_is_exceeded(
    counting: Counting, limit: int, per_host: int
) -> None:
    urls = hosts_of(counting, hosts=4, each=30, seconds=0.02)
    got = fetch(urls, limit=limit, per_host=per_host)
    assert [one.error for one in got] == [None] * 120
    peak = counting.report()["peak"]
    assert peak.pop("all") == min(limit, 4 * per_host)
    assert max(peak.values()) <= per_host


def test_the_limits_of_a_client_hold_too_if_it_was_given_any(counting: Counting) -> None:
    urls = hosts_of(counting, hosts=3, each=20, seconds=0.02)
    limits = offloop.Limits(connections=6, per_host=2)
    fetch(urls, {"limits": limits}, limit=50, per_host=50)
    peak = counting.report()["peak"]
    assert peak.pop("all") == 6
    assert max(peak.values()) == 2


def test_without_limits_of_the_client_what_is_asked_for_is_what_there_is(
    counting: Counting,
) -> None:
    fetch([f"{counting.url}/hold/0.3/{n}" for n in range(150)], limit=150, per_host=150)
    assert counting.report()["peak"]["all"] == 150


def test_a_redirect_takes_a_place_at_the_host_it_leads_to(counting: Counting) -> None:
    there = [f"{counting.host(2)}/hold/0.03/there-{n}" for n in range(20)]
    moved = [f"{counting.host(1)}/to/moved-{n}?{url}" for n, url in enumerate(there)]
    got = fetch(moved, limit=20, per_host=3)
    assert [one.response.url for one in got if one.response] != []
    assert sorted(one.response.url for one in got if one.response) == sorted(there)
    peak = counting.report()["peak"]
    assert peak["127.0.0.2"] <= 3
    assert peak["127.0.0.1"] <= 3


def test_a_fast_host_is_held_back_neither_by_a_slow_nor_by_a_busy_one(counting: Counting) -> None:
    slow = (f"{counting.host(1)}/hold/0.5/slow-{n}" for n in range(24))
    busy = (f"{counting.host(2)}/flaky/busy-{n}/1/429?1" for n in range(24))
    fast = [f"{counting.host(3)}/hold/0/fast-{n}" for n in range(240)]
    mixed = chain.from_iterable(zip(slow, busy, *[iter(fast)] * 10, strict=True))

    async def main() -> tuple[dict[str, list[float]], list[offloop.Fetched]]:
        ended: dict[str, list[float]] = {}
        results = []
        began = time.monotonic()
        async with offloop.Client(retries=offloop.Retry(budget=1)) as client:
            async for got in client.fetch_all(mixed, limit=12, per_host=12):
                results.append(got)
                kind = got.url.rsplit("/", 1)[1].partition("-")[0]
                kind = "busy" if "flaky" in got.url else kind
                ended.setdefault(kind, []).append(time.monotonic() - began)
        return ended, results

    ended, results = asyncio.run(main())
    assert all(got.response and got.response.is_success for got in results)
    assert {kind: len(times) for kind, times in ended.items()} == {
        "slow": 24,
        "busy": 24,
        "fast": 240,
    }
    # Alone the fast host's take some 0.1 s; the slow one's at least 24 * 0.5 / 12 = 1 s.
    assert ended["fast"][-1] < 0.8 * ended["slow"][-1], ended
    assert ended["slow"][-1] > 0.99
    peak = counting.report()["peak"]
    assert peak["all"] <= 12


def test_a_host_that_says_when_to_return_is_left_alone_until_then(counting: Counting) -> None:
    first = [f"{counting.host(1)}/flaky/first-{n}/1/429?0.5" for n in range(4)]
    later = [f"{counting.host(1)}/hold/0/later-{n}" for n in range(50)]
    fetch([*first, *later], {"retries": offloop.Retry(backoff=0)}, limit=4, per_host=4)
    times = counting.report()["times"]
    told = min(times[f"first-{n}"][0] for n in range(4))
    after = [times[f"later-{n}"][0] - told for n in range(50)]
    assert sum(waited < 0.45 for waited in after) <= 4, sorted(after)[:8]


def test_those_who_wait_for_their_next_try_take_no_place(counting: Counting) -> None:
    waiting = [f"{counting.host(1)}/flaky/w-{n}/1/500?1" for n in range(4)]
    others = [f"{counting.host(1)}/hold/0.01/o-{n}" for n in range(40)]
    retries = offloop.Retry(backoff=0, respect_retry_after=False, budget=1)
    began = time.monotonic()
    got = fetch([*waiting, *others], {"retries": retries}, limit=2, per_host=2)
    assert time.monotonic() - began < 5
    assert all(one.response and one.response.is_success for one in got)
    assert counting.report()["peak"]["all"] <= 2


def test_the_rate_holds_for_each_host_and_for_retries(counting: Counting) -> None:
    urls = [
        f"{counting.host(host)}/flaky/{host}-{number}/1/503"
        for number in range(8)
        for host in (1, 2)
    ]
    retries = offloop.Retry(backoff=0, budget=1)
    fetch(urls, {"retries": retries}, rate=40, limit=20, per_host=20)
    times = counting.report()["times"]
    for host in (1, 2):
        own = sorted(
            time for key, seen in times.items() if key.startswith(f"{host}-") for time in seen
        )
        assert len(own) == 16
        # Sixteen of them are fifteen intervals apart; a timer may be late once by 5 ms.
        assert own[-1] - own[0] >= 15 / 40 - 0.03
        assert own[-1] - own[0] < 2


def test_auto_finds_out_what_a_host_can_take(counting: Counting) -> None:
    urls = [f"{counting.url}/hold/0.02/{n}" for n in range(600)]
    fetch(urls, limit=64, per_host="auto")
    peak = counting.report()["peak"]["all"]
    assert 16 <= peak <= 64
    counting.report("forget")
    # Every answer is a 503 at first: the window must shrink and not grow.
    busy = [f"{counting.host(4)}/flaky/b-{n}/1000/503" for n in range(60)]
    got = fetch(busy, limit=64, per_host="auto")
    assert [one.response.status_code for one in got if one.response] == [503] * 60
    assert counting.report()["peak"]["all"] <= 6


def test_many_hosts_share_the_limit(counting: Counting) -> None:
    slow = [f"{counting.host(1)}/hold/2/s-{n}" for n in range(20)]
    others = [f"{counting.host(2 + n % 8)}/hold/0.001/o-{n}" for n in range(160)]

    async def main() -> tuple[int, int]:
        seen = [0, 0]
        async with (
            offloop.Client() as client,
            client.fetch_all([*slow, *others], limit=10, per_host=10) as results,
        ):
            async for got in results:
                assert got.error is None
                seen[got.index >= 20] += 1
                if seen[1] == 160:
                    break
        return seen[0], seen[1]

    # The slow host came first and could have had all ten places; it gets its share of them.
    before, _ = asyncio.run(main())
    assert before < 15


def test_a_source_is_read_only_as_far_as_it_is_needed(counting: Counting) -> None:
    pulled = 0

    def source() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"{counting.url}/hold/0/{pulled}"

    async def main() -> None:
        async with offloop.Client() as client, client.fetch_all(source(), limit=20) as results:
            delivered = 0
            async for _ in results:
                delivered += 1
                # In flight, ahead of that, and finished but unread.
                assert pulled <= delivered + 8 * 20
                if delivered == 500:
                    break

    asyncio.run(main())
    assert pulled <= 500 + 8 * 20


def test_one_busy_host_does_not_make_the_source_run_away(counting: Counting) -> None:
    pulled = 0

    def source() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"{counting.url}/hold/0.05/{pulled}"

    async def main() -> None:
        async with offloop.Client() as client:
            async with client.fetch_all(source(), limit=100, per_host=2) as results:
                delivered = 0
                async for _ in results:
                    delivered += 1
                    if delivered == 20:
                        break

    asyncio.run(main())
    assert pulled < 6 * 100


def test_a_reader_who_takes_his_time_stops_the_fetching(counting: Counting) -> None:
    async def main() -> int:
        urls = (f"{counting.url}/hold/0/{n}" for n in range(100_000))
        async with offloop.Client() as client, client.fetch_all(urls, limit=10) as results:
            async for _ in results:
                await asyncio.sleep(0.5)  # long enough for thousands
                break
            return len(counting.report()["order"])

    assert asyncio.run(main()) <= 5 * 10


def test_a_reader_who_never_waits_leaves_the_loop_to_others(counting: Counting) -> None:
    async def main() -> int:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        async with offloop.Client() as client:
            urls = (f"{counting.url}/hold/0/{n}" for n in range(1000))
            async for _ in client.fetch_all(urls, limit=50, per_host=50):
                time.sleep(0.0005)
        task.cancel()
        return turns

    assert asyncio.run(main()) > 50
