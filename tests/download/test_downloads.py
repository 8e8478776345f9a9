"""Many downloads at once: bounded, each with its result or its error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import offloop
from batch.conftest import Counting
from conftest import Run
from offloop.testing import MockRouter
from servers import Server
from servers.ranges import content


def test_each_url_gives_a_file_or_an_error(run: Run[Any], ranges: Server, tmp_path: Path) -> None:
    urls = [f"{ranges.url}/honest/{1000 + nth}/file{nth}" for nth in range(20)]
    urls[3] = f"{ranges.url}/honest/10/"
    urls[5] = "not a url"
    urls[7] = f"{ranges.url}/honest/1000/cut?cut=10"

    async def main() -> dict[int, offloop.Downloaded]:
        return {got.index: got async for got in offloop.downloads(urls, tmp_path)}

    found = run(main())
    assert sorted(found) == list(range(20))
    assert isinstance(found[3].error, offloop.UnsafeFilename)
    assert isinstance(found[5].error, offloop.InvalidURL)
    assert isinstance(found[7].error, offloop.TruncatedBody)
    for index, got in found.items():
        assert got.url == urls[index]
        if index not in (3, 5, 7):
            assert got.error is None
            assert got.saved is not None
            assert got.saved.path.read_bytes() == content(1000 + index)


def test_no_more_than_the_limit_are_under_way_and_none_is_pulled_early(
    own_ranges: Server, tmp_path: Path
) -> None:
    pulled = 0

    def urls() -> Iterator[str]:
        nonlocal pulled
        for nth in range(30):
            pulled += 1
            yield f"{own_ranges.url}/honest/50000/file{nth}?rate=400000"

    async def main() -> None:
        count = 0
        async for got in offloop.downloads(urls(), tmp_path, limit=5, per_host=3):
            count += 1
            assert got.error is None
            assert pulled <= count + 5 + 5
        assert count == 30

    asyncio.run(main())
    assert own_ranges.stats()["most"] - 1 <= 3


def test_a_source_that_waits_holds_up_no_result(ranges: Server, tmp_path: Path) -> None:
    closed = False

    async def urls(first: asyncio.Event) -> AsyncIterator[str]:
        nonlocal closed
        try:
            yield f"{ranges.url}/honest/1000/first"
            await first.wait()
            yield f"{ranges.url}/honest/1000/second"
        finally:
            closed = True

    async def main() -> list[str]:
        first = asyncio.Event()
        names = []
        async for got in offloop.downloads(urls(first), tmp_path):
            assert got.saved is not None
            names.append(got.saved.path.name)
            first.set()
        return names

    assert asyncio.run(asyncio.wait_for(main(), 20)) == ["first", "second"]
    assert closed


def test_leaving_early_cancels_the_rest_and_settles_its_parts(
    own_ranges: Server, tmp_path: Path
) -> None:
    async def main() -> None:
        urls = [f"{own_ranges.url}/honest/1000/quick"]
        urls += [f"{own_ranges.url}/honest/2000000/slow{nth}?rate=200000" for nth in range(4)]
        results = offloop.downloads(urls, tmp_path)
        async for got in results:
            assert got.url == urls[0]
            break
        await results.aclose()
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        await asyncio.sleep(0.2)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
        while own_ranges.stats()["now"] > 2:
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert not any(name.startswith("slow") and "." not in name for name in os.listdir(tmp_path))


def test_an_error_can_be_raised_and_a_source_may_fail(ranges: Server, tmp_path: Path) -> None:
    def failing() -> Iterator[str]:
        yield f"{ranges.url}/honest/1000/one"
        raise LookupError("no more")

    async def main() -> None:
        urls = [f"{ranges.url}/honest/1000/cut?cut=10"]
        with pytest.raises(offloop.TruncatedBody):
            async for _ in offloop.downloads(urls, tmp_path, on_error="raise"):
                pass
        got = []
        with pytest.raises(LookupError, match="no more"):
            async for each in offloop.downloads(failing(), tmp_path):
                got.append(each)
        assert len(got) == 1

    asyncio.run(main())


def test_what_makes_no_sense_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="urls"):
        offloop.downloads("http://127.0.0.1/x", tmp_path)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="limit"):
            offloop.downloads([], tmp_path, limit=wrong)
    with pytest.raises(ValueError, match="on_error"):
        offloop.downloads([], tmp_path, on_error="ignore")  # type: ignore[arg-type]


def test_the_scheduler_of_fetch_all_shares_hosts_out_and_keeps_the_rate(
    counting: Counting, tmp_path: Path
) -> None:
    slow = [f"{counting.host(1)}/hold/1/slow{nth}" for nth in range(6)]
    quick = [f"{counting.host(2)}/hold/0/quick{nth}" for nth in range(12)]

    async def main(urls: list[str], **options: Any) -> list[offloop.Downloaded]:
        async with offloop.Client() as client:
            return [got async for got in client.downloads(urls, tmp_path, **options)]

    got = asyncio.run(main([*slow[:3], *quick, *slow[3:]], limit=6, per_host=3))
    assert [one.error for one in got] == [None] * 18
    # Those that hang hold nobody up, though they came first.
    assert {one.url for one in got[:12]} == set(quick)
    peak = counting.report()["peak"]
    assert peak["127.0.0.1"] <= 3
    assert peak["127.0.0.2"] <= 3
    counting.report("forget")
    paced = [f"{counting.host(3)}/hold/0/paced{nth}" for nth in range(9)]
    asyncio.run(main(paced, rate=20))
    times = sorted(time for times in counting.report()["times"].values() for time in times)
    assert times[-1] - times[0] >= 8 / 20 - 0.03


def test_a_host_that_refuses_is_left_alone_as_long_as_it_asks(
    counting: Counting, tmp_path: Path
) -> None:
    urls = [f"{counting.host(1)}/flaky/f{nth}/99/429?0.5" for nth in range(4)]

    async def main() -> list[offloop.Downloaded]:
        retries = offloop.Retry(attempts=1, statuses=(500,))
        async with offloop.Client(retries=retries) as client:
            results = client.downloads(urls, tmp_path, limit=4, per_host=1)
            return [got async for got in results]

    got = asyncio.run(main())
    assert {type(one.error) for one in got} == {offloop.StatusError}
    times = sorted(time for times in counting.report()["times"].values() for time in times)
    assert min(later - before for before, later in pairwise(times)) >= 0.45


@pytest.mark.parametrize("trouble", ["refused", "cut off"])
def test_a_download_that_waits_to_be_tried_again_keeps_no_place(
    trouble: str, counting: Counting, own_ranges: Server, tmp_path: Path
) -> None:
    if trouble == "refused":
        urls = [counting.host(1) + path for path in ("/flaky/first/1/500", "/hold/0/second")]
    else:
        paths = ("/honest/500000/first?cut=100000&cuts=1", "/honest/1000/second")
        urls = [own_ranges.url + path for path in paths]

    async def main() -> list[offloop.Downloaded]:
        retries = offloop.Retry(attempts=1, statuses=(500,), backoff=0.05)
        async with offloop.Client(retries=retries) as client:
            results = client.downloads(urls, tmp_path, limit=2, per_host=1)
            return [got async for got in results]

    got = asyncio.run(main())
    assert [one.error for one in got] == [None, None]
    # The other one has had the place meanwhile, however short that was.
    assert [one.index for one in got] == [1, 0]
    if trouble == "refused":
        assert counting.report()["peak"]["127.0.0.1"] == 1


def test_a_function_as_auth_is_called_for_each_download(run: Run[Any], tmp_path: Path) -> None:
    asked: list[str] = []

    def auth(request: offloop.Request) -> dict[str, str]:
        asked.append(request.url.rpartition("/")[2])
        return {"authorization": "Bearer one"}

    async def main() -> list[Exception | None]:
        with MockRouter() as router:
            router.get("*", headers={"authorization": "Bearer one"}).respond(content=b"all right")
            async with router.client(auth=auth) as client:
                urls = [f"https://files.example/{name}" for name in ("one", "two")]
                found = [
                    got.error async for got in client.downloads(urls, tmp_path, overwrite=True)
                ]
                await client.download(urls[0], tmp_path / "third")
                return found

    assert run(main()) == [None, None]
    assert sorted(asked) == ["one", "one", "two"]
    assert (tmp_path / "third").read_bytes() == b"all right"
    (tmp_path / "third").unlink()
