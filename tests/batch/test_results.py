"""What `fetch_all` gives: a result for each request, once, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import offloop
from batch.conftest import Counting
from conftest import Run
from servers import Server


def test_every_request_is_reported_once(run: Run[Any], server: Server) -> None:
    async def main() -> Counter[int]:
        seen = Counter[int]()
        async with offloop.Client() as client:
            async for got in client.fetch_all(f"{server.url}/1k?{n}" for n in range(500)):
                assert got.response is not None, got.error
                assert got.response.content == b"x" * 1024
                assert got.url == f"{server.url}/1k?{got.index}"
                seen[got.index] += 1
        return seen

    assert run(main()) == dict.fromkeys(range(500), 1)


def test_results_come_as_they_are_finished_or_in_order(run: Run[Any], server: Server) -> None:
    waits = [0.3, 0.0, 0.1]

    async def main(ordered: bool) -> list[int]:
        async with offloop.Client(base_url=server.url) as client:
            urls = [f"/delay/{wait}" for wait in waits]
            return [got.index async for got in client.fetch_all(urls, ordered=ordered)]

    assert run(main(ordered=False)) == [1, 2, 0]
    assert run(main(ordered=True)) == [0, 1, 2]


def test_batches_are_full_besides_the_last(run: Run[Any], server: Server) -> None:
    async def main() -> list[list[int]]:
        async with offloop.Client(base_url=server.url) as client:
            urls = [f"/1k?{n}" for n in range(105)]
            results = client.fetch_all(urls, ordered=True)
            return [[got.index for got in some] async for some in results.batches(20)]

    got = run(main())
    assert [len(some) for some in got] == [20, 20, 20, 20, 20, 5]
    assert [index for some in got for index in some] == list(range(105))


def test_what_is_no_request_is_a_result_with_an_error(server: Server) -> None:
    given: list[Any] = [f"{server.url}/1k", "no URL", 5, "http://a b/", None, f"{server.url}/1k"]

    async def main() -> list[offloop.Fetched]:
        async with offloop.Client() as client:
            return [got async for got in client.fetch_all(given, ordered=True)]

    results = asyncio.run(main())
    kinds = [type(got.error) for got in results]
    right, invalid = type(None), offloop.InvalidURL
    assert kinds == [right, invalid, TypeError, invalid, TypeError, right]
    assert [got.url for got in results[1:4]] == ["no URL", "5", "http://a b/"]
    assert [got.request is None for got in results] == [False, True, True, True, True, False]
    assert [got.response is None for got in results] == [False, True, True, True, True, False]


def test_failures_and_statuses_are_results(server: Server) -> None:
    urls = [f"{server.url}/status/503", f"{server.url}/garbage", "http://127.0.0.1:1/"]

    async def main() -> list[offloop.Fetched]:
        async with offloop.Client() as client:
            return [got async for got in client.fetch_all(urls, ordered=True)]

    status, garbage, refused = asyncio.run(main())
    assert status.response is not None
    assert status.response.status_code == 503
    assert isinstance(garbage.error, offloop.ProtocolError)
    assert isinstance(refused.error, offloop.ConnectError)
    assert refused.request is not None
    assert refused.request.url == "http://127.0.0.1:1/"


def test_raising_ends_the_loop_after_what_came_before(run: Run[Any], server: Server) -> None:
    async def main() -> None:
        seen = []
        async with offloop.Client(base_url=server.url) as client:
            urls = ["/1k", "/1k", "/garbage", "/1k"]
            results = client.fetch_all(urls, ordered=True, on_error="raise")
            with pytest.raises(offloop.ProtocolError):
                async for got in results:
                    seen.append(got.index)
        assert seen == [0, 1]

    run(main())


def test_requests_bring_their_method_and_headers(server: Server) -> None:
    async def main() -> list[Any]:
        url = f"{server.url}/echo"
        requests = [
            offloop.Request("PUT", url, headers={"x-own": "1", "X-Common": "own"}),
            url,
        ]
        async with offloop.Client(headers={"x-client": "c"}) as client:
            results = client.fetch_all(requests, ordered=True, headers={"x-common": "all"})
            return [got.response.json() async for got in results if got.response]

    put, get = asyncio.run(main())
    assert put["method"] == "PUT"
    assert get["method"] == "GET"
    wanted = {"x-own": "1", "x-common": "own", "x-client": "c"}
    assert wanted.items() <= put["headers"].items()
    assert "x-own" not in get["headers"]
    assert get["headers"]["x-common"] == "all"


def test_the_options_of_get_hold_for_all(counting: Counting) -> None:
    async def main() -> list[offloop.Fetched]:
        async with offloop.Client(base_url=counting.url, params={"a": 1}) as client:
            urls = [f"/hold/{5 * n}/{n}" for n in range(2)]
            results = client.fetch_all(urls, ordered=True, timeout=0.3, params={"b": 2})
            return [got async for got in results]

    first, second = asyncio.run(main())
    assert first.url.endswith("?a=1&b=2")
    assert isinstance(second.error, offloop.TotalTimeout)


def test_duplicates_are_left_out_if_that_is_asked_for(counting: Counting) -> None:
    urls = [f"{counting.url}/hold/0/{n % 10}" for n in range(100)]
    urls.append(urls[0] + "#fragment")
    urls.append(urls[0] + "?query")

    async def main(dedupe: bool) -> list[int]:
        async with offloop.Client() as client:
            results = client.fetch_all(urls, dedupe=dedupe, ordered=True)
            indices = [got.index async for got in results]
            assert results.stats()["duplicates"] == len(urls) - len(indices)
            return indices

    assert asyncio.run(main(dedupe=True)) == [*range(10), 101]
    assert len(counting.report()["order"]) == 11
    assert asyncio.run(main(dedupe=False)) == list(range(102))


def test_an_asynchronous_source_is_heard_as_it_speaks(run: Run[Any], server: Server) -> None:
    async def main() -> list[int]:
        arrived = asyncio.Event()

        async def source() -> AsyncIterator[str]:
            yield f"{server.url}/1k"
            # The second comes only after the first has been delivered.
            await asyncio.wait_for(arrived.wait(), 10)
            for _ in range(100):
                yield f"{server.url}/1k"

        seen = []
        async with offloop.Client() as client:
            async for got in client.fetch_all(source()):
                arrived.set()
                seen.append(got.index)
        return sorted(seen)

    assert run(main()) == list(range(101))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("before", [0, 1, 300])
def test_an_error_of_the_source_comes_once_after_what_it_gave(
    server: Server, asynchronous: bool, before: int
) -> None:
    def source() -> Iterator[str]:
        yield from (f"{server.url}/1k" for _ in range(before))
        raise KeyError("ran dry")

    async def source_async() -> AsyncIterator[str]:
        for url in source():
            yield url

    async def main() -> None:
        seen = 0
        async with offloop.Client() as client:
            results = client.fetch_all(source_async() if asynchronous else source())
            with pytest.raises(KeyError, match="ran dry"):
                async for _ in results:
                    seen += 1
        assert seen == before

    asyncio.run(main())


def test_results_can_be_iterated_over_once(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client(base_url=server.url) as client:
            results = client.fetch_all(["/1k"])
            assert [got.index async for got in results] == [0]
            with pytest.raises(RuntimeError, match="once"):
                aiter(results)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": 0}, ValueError),
        ({"limit": 1.5}, TypeError),
        ({"per_host": -1}, ValueError),
        ({"per_host": "many"}, TypeError),
        ({"rate": 0}, ValueError),
        ({"rate": "5"}, TypeError),
        ({"on_error": "ignore"}, ValueError),
        ({"no_such_option": 1}, TypeError),
        ({"timeout": -1}, ValueError),
        ({"content": iter([b"x"])}, TypeError),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        offloop.fetch_all([], **options)


@pytest.mark.parametrize("source", ["http://one", b"http://one", 5, None])
def test_one_url_is_no_iterable_of_urls(source: Any) -> None:
    with pytest.raises(TypeError, match="iterable"):
        offloop.fetch_all(source)


@pytest.mark.parametrize("raised", [LookupError("no more"), asyncio.CancelledError("no more")])
def test_what_a_source_raises_is_raised_once_whatever_it_is(
    server: Server, raised: BaseException
) -> None:
    def urls() -> Iterator[str]:
        for n in range(20):
            yield f"{server.url}/1k?{n}"
        raise raised

    async def main() -> int:
        seen = 0
        with pytest.raises(type(raised), match="no more"):
            async for got in offloop.fetch_all(urls()):
                seen += got.error is None
        return seen

    assert asyncio.run(main()) == 20
