"""The client and what it tells: pickles, threads, counts, and nothing said aloud.

The server is `tests/servers/told.py`, which answers what it is told. API.md §2; FAULTS B10, R7,
S14.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import gc
import pickle
import threading
import time

import pytest
from telling import answering, get, headers_of

import offloop
from servers import Server

# Pickles.


class Own(offloop.Client):
    """A client of a class of the user's."""


def test_a_client_is_pickled_with_its_configuration(told: Server) -> None:
    async def main() -> None:
        made = Own(
            base_url=told.url,
            headers={"x-mine": "1"},
            params={"a": "1"},
            auth=offloop.BearerAuth("t0ken"),
            timeout=offloop.Timeout(connect=1),
            limits=offloop.Limits(connections=2, rate=1000),
            retries=offloop.Retry(attempts=1),
            cookies={"c": "2"},
            guard=offloop.Guard(allow=["127.0.0.0/8"], ports=[told.port]),
            resolve={"a.test": "127.0.0.1"},
        )
        await made.get("/told")
        again = pickle.loads(pickle.dumps(made))
        assert type(again) is Own
        assert again.stats()["requests"] == 0
        made.close()
        async with again:
            response = await again.get("/told")
            got = headers_of(response)
            assert (got["x-mine"], got["authorization"], got["cookie"]) == (
                "1",
                "Bearer t0ken",
                "c=2",
            )
            assert response.url == f"{told.url}/told?a=1"
        assert pickle.loads(pickle.dumps(made)).is_closed is False

    asyncio.run(main())


def test_errors_are_pickled_with_their_fields(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=offloop.Timeout(read=0.2)) as client:
            failing = [
                client.get("http://127.0.0.1:1/", headers={"x-mine": "1"}),
                client.get("http://nowhere.invalid/"),
                client.get(answering(told, "x" * 100), max_body=10),
                client.get(f"{told.url}/told?status=302&header=location:/told%3Fstatus", retries=1),
                client.get(f"{told.url}/told?status=302&header=location:ftp://x/"),
            ]
            errors = await asyncio.gather(*failing, return_exceptions=True)
            response = await client.get(f"{told.url}/told?status=404")
            with pytest.raises(offloop.StatusError) as caught:
                response.raise_for_status()
            errors.append(caught.value)
            for error in errors:
                if not isinstance(error, offloop.FetchError):
                    continue
                again = pickle.loads(pickle.dumps(error))
                assert type(again) is type(error)
                assert str(again) == str(error)
                fields = ("url", "phase", "history", "attempts")
                assert [getattr(again, name) for name in fields] == [
                    getattr(error, name) for name in fields
                ]
                assert (again.request is None) == (error.request is None)
                if error.request is not None:
                    assert again.request == error.request
            refused, unknown, large, *_ = errors
            assert pickle.loads(pickle.dumps(refused)).addresses == refused.addresses
            assert pickle.loads(pickle.dumps(refused)).errno == refused.errno
            assert refused.request.headers["x-mine"] == "1"
            assert (large.limit, pickle.loads(pickle.dumps(large)).limit) == (10, 10)
            assert isinstance(unknown, offloop.DNSError)

    asyncio.run(main())


def test_requests_headers_and_options_are_pickled(told: Server) -> None:
    request = get(f"{told.url}/told?a=1", headers={"X-Mine": "1"}).request
    again = pickle.loads(pickle.dumps(request))
    assert again == request
    assert (again.method, again.url, again.headers["x-mine"]) == ("GET", request.url, "1")
    for value in (
        offloop.Timeout(read=1),
        offloop.Limits(rate=5),
        offloop.Retry(),
        offloop.Guard(),
    ):
        assert pickle.loads(pickle.dumps(value)) == value


# Loops and threads.


def test_one_client_serves_two_threads_at_once(told: Server) -> None:
    client = offloop.Client(limits=offloop.Limits(connections=4), timeout=10)
    barrier = threading.Barrier(2)

    async def main() -> set[int]:
        barrier.wait(5)
        got = await asyncio.gather(*(client.get(f"{told.url}/told") for _ in range(100)))
        return {response.status_code for response in got}

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        both = [threads.submit(asyncio.run, main()) for _ in range(2)]
        assert [each.result(20) for each in both] == [{200}, {200}]
    assert client.stats()["requests"] == 200
    assert client.stats()["opened"] <= 4
    client.close()


def test_one_client_survives_two_loops(told: Server) -> None:
    client = offloop.Client(timeout=10)

    async def main() -> bool:
        return (await client.get(f"{told.url}/told")).attempts[-1].reused

    assert [asyncio.run(main()) for _ in range(3)] == [False, True, True]
    client.close()


def test_a_stream_left_open_by_a_loop_that_ended_does_no_harm(told: Server) -> None:
    client = offloop.Client(timeout=10, limits=offloop.Limits(connections=1))

    async def leave() -> None:
        await client.stream("GET", f"{told.url}/told")

    async def main() -> int:
        return (await client.get(f"{told.url}/told")).status_code

    asyncio.run(leave())
    gc.collect()
    assert asyncio.run(main()) == 200
    client.close()


# Counts and times.


def test_stats_count_everything(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            assert set(client.stats().values()) == {0}
            await client.post(answering(told, "12345"), content=b"z" * 1000)
            await client.get(f"{told.url}/told?status=302&header=location:/told")
            with pytest.raises(offloop.ConnectError):
                await client.get("http://127.0.0.1:1/")
            await client.get(f"{told.url}/told?status=503", retries=offloop.Retry(attempts=1))
            stats = client.stats()
            assert set(stats) == {
                "requests",
                "in_flight",
                "queued",
                "failed",
                "opened",
                "connections",
                "idle",
                "reused",
                "http2",
                "replayed",
                "retried",
                "redirected",
                "abandoned_lookups",
                "bytes_sent",
                "bytes_received",
                "bytes_decoded",
            }
            assert stats["requests"] == 4
            assert (stats["failed"], stats["redirected"], stats["retried"]) == (1, 1, 1)
            assert (stats["opened"], stats["connections"], stats["idle"]) == (1, 1, 1)
            assert (stats["in_flight"], stats["queued"], stats["reused"]) == (0, 0, 4)
            assert stats["bytes_sent"] == 1000
            # The bodies of a redirect and of a try that is repeated are never decoded.
            assert stats["bytes_received"] > stats["bytes_decoded"] > 5

    asyncio.run(main())


def test_stats_show_what_is_under_way(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(connections=1)) as client:
            jobs = [client.get(f"{server.url}/hang").start() for _ in range(3)]
            give_up = time.monotonic() + 5
            while (client.stats()["in_flight"], client.stats()["queued"]) != (1, 2):
                assert time.monotonic() < give_up, client.stats()
                await asyncio.sleep(0.005)
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            names = ("in_flight", "queued", "connections")
            while any(client.stats()[name] for name in names):
                assert time.monotonic() < give_up, client.stats()
                await asyncio.sleep(0.005)

    asyncio.run(main())


def test_a_response_tells_how_it_came_about(told: Server) -> None:
    async def main() -> None:
        async with offloop.Client(timeout=10) as client:
            hop = f"{told.url}/told?status=302&header=location:/told%3Fb%3D2%26body%3Dhello"
            began = time.monotonic()
            response = await client.post(hop, follow_redirects=True, content=b"x")
            took = time.monotonic() - began
            assert set(response.timings) == {
                "queued",
                "dns",
                "connect",
                "tls",
                "first_byte",
                "body",
                "decode",
                "bridge",
            }
            assert all(0 <= seconds < 5 for seconds in response.timings.values())
            assert response.timings["connect"] > 0
            assert isinstance(response.elapsed, datetime.timedelta)
            assert 0 < response.elapsed.total_seconds() <= took
            assert (response.text, response.num_bytes_downloaded) == ("hello", 5)
            assert (response.request.method, response.request.url) == ("GET", response.url)
            assert response.url == f"{told.url}/told?b=2&body=hello"
            (before,) = response.history
            assert (before.status_code, before.url, before.request.method) == (302, hop, "POST")
            assert before.has_redirect_location
            assert before.history == []
            (attempt,) = response.attempts[-1:]
            assert (attempt.status, attempt.error, attempt.reused) == (200, None, True)
            assert 0 < attempt.took < 5
            assert (response.is_success, response.is_error, response.is_redirect) == (
                True,
                False,
                False,
            )

    asyncio.run(main())
