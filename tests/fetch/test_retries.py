"""Which answers and failures are tried again, how often, how soon, and what is told about it."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import pickle
import socket
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from servers import Server, serve

STATUSES = (429, 500, 502, 503, 504)
QUICK = 0.01


@pytest.fixture(scope="module")
def counting() -> Iterator[Server]:
    with serve("counting") as running:
        yield running


def times_of(server: Server, key: str) -> list[float]:
    with urllib.request.urlopen(f"{server.url}/report", timeout=10) as answer:
        got: list[float] = json.load(answer)["times"].get(key, [])
        return got


def retry(attempts: int = 3, **options: Any) -> offloop.Retry:
    return offloop.Retry(**{"attempts": attempts, "backoff": QUICK, "budget": 1, **options})


def get(url: str, method: str = "GET", **options: Any) -> offloop.Response:
    async def main() -> offloop.Response:
        async with offloop.Client() as client:
            return await client.request(method, url, **options)

    return asyncio.run(main())


def flaky(server: Server, key: str, times: int, status: int, retry_after: str = "") -> str:
    return f"{server.url}/flaky/{key}/{times}/{status}" + (retry_after and f"?{quote(retry_after)}")


@pytest.mark.parametrize("status", STATUSES)
def test_a_passing_failure_is_tried_again(counting: Server, status: int) -> None:
    response = get(flaky(counting, f"again-{status}", 2, status), retries=retry())
    assert (response.status_code, response.content) == (200, b"done")
    assert [attempt.status for attempt in response.attempts] == [status, status, 200]
    assert all(attempt.error is None for attempt in response.attempts)
    assert all(attempt.took >= 0 for attempt in response.attempts)
    assert all(attempt.url == response.url for attempt in response.attempts)
    assert len(times_of(counting, f"again-{status}")) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 418, 501, 505, 599])
def test_other_statuses_are_final(counting: Server, status: int) -> None:
    assert get(flaky(counting, f"final-{status}", 9, status), retries=3).status_code == status
    assert len(times_of(counting, f"final-{status}")) == 1


def test_without_retries_there_are_none(counting: Server) -> None:
    response = get(flaky(counting, "none", 1, 503))
    assert response.status_code == 503
    assert len(response.attempts) == 1


def test_the_last_answer_is_given_when_all_tries_are_used(counting: Server) -> None:
    response = get(flaky(counting, "used", 99, 503), retries=retry(3))
    assert (response.status_code, response.content) == (503, b"not yet")
    assert [attempt.status for attempt in response.attempts] == [503] * 4
    with pytest.raises(offloop.StatusError):
        response.raise_for_status()


def test_a_number_is_short_for_as_many_retries(counting: Server) -> None:
    response = get(flaky(counting, "number", 1, 503, "0"), retries=1)
    assert (response.status_code, len(response.attempts)) == (200, 2)


def test_statuses_can_be_chosen(counting: Server) -> None:
    only = retry(statuses=(404,))
    assert get(flaky(counting, "chosen", 1, 404), retries=only).status_code == 200
    assert get(flaky(counting, "not-chosen", 1, 503), retries=only).status_code == 503


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_methods_are_tried_again(counting: Server, method: str) -> None:
    options: dict[str, Any] = {"content": b"body"} if method == "PUT" else {}
    response = get(flaky(counting, method, 2, 503), method, retries=retry(), **options)
    assert len(response.attempts) == len(times_of(counting, method)) == 3


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("status", [503, 0])
def test_other_methods_are_not(counting: Server, method: str, status: int) -> None:
    key = f"once-{method}-{status}"
    url = flaky(counting, key, 1, status)
    if status:
        assert get(url, method, content=b"x", retries=retry()).status_code == 503
    else:
        with pytest.raises(offloop.ProtocolError):
            get(url, method, content=b"x", retries=retry())
    assert len(times_of(counting, key)) == 1


def test_other_methods_are_tried_again_when_they_are_named(counting: Server) -> None:
    url = flaky(counting, "named", 1, 503)
    named = retry(methods=("POST",))
    assert get(url, "POST", content=b"x", retries=named).status_code == 200
    assert len(times_of(counting, "named")) == 2


def test_a_body_that_cannot_be_replayed_is_sent_once(counting: Server) -> None:
    response = get(flaky(counting, "stream", 1, 503), "PUT", content=iter([b"a"]), retries=retry())
    assert response.status_code == 503
    assert len(times_of(counting, "stream")) == 1


def test_a_broken_connection_is_tried_again(counting: Server) -> None:
    response = get(flaky(counting, "broken", 2, 0), retries=retry())
    assert response.content == b"done"
    assert [attempt.status for attempt in response.attempts] == [None, None, 200]
    assert all("ProtocolError" in str(attempt.error) for attempt in response.attempts[:2])
    assert not any(attempt.reused for attempt in response.attempts)


def test_the_last_failure_tells_of_all_tries(counting: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for url, error in (
        (f"http://127.0.0.1:{port}/?token=hunter2", offloop.ConnectError),
        (flaky(counting, "never", 99, 0), offloop.ProtocolError),
    ):
        with pytest.raises(error) as caught:
            get(url, retries=retry(2))
        assert len(caught.value.attempts) == 3
        for attempt in caught.value.attempts:
            assert attempt.status is None
            assert error.__name__ in attempt.error
            assert "hunter2" not in repr(attempt)
        again = pickle.loads(pickle.dumps(caught.value))
        assert len(again.attempts) == 3


def test_retry_after_is_respected(counting: Server) -> None:
    get(flaky(counting, "after", 1, 503, "1"), retries=retry())
    first, second = times_of(counting, "after")
    assert 0.95 < second - first < 2
    soon = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2), usegmt=True
    )
    get(flaky(counting, "date", 1, 429, soon), retries=retry())
    first, second = times_of(counting, "date")
    assert 0.8 < second - first < 3


def test_retry_after_can_be_ignored(counting: Server) -> None:
    get(flaky(counting, "ignored", 1, 503, "5"), retries=retry(respect_retry_after=False))
    first, second = times_of(counting, "ignored")
    assert second - first < 4


ODD = [
    "1000000000",
    "99999999999999999999999999",
    "-1",
    "NaN",
    "inf",
    "1e9",
    "soon",
    "0",
    "0.1",
    "1 2",
]
PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
FUTURE = "Wed, 21 Oct 2115 07:28:00 GMT"


@pytest.mark.parametrize("value", [*ODD, PAST, FUTURE, "Wed, 99 Oct 2015 77:28:00 GMT"])
def test_an_odd_retry_after_never_means_an_endless_sleep(counting: Server, value: str) -> None:
    key = quote(f"odd {value}", safe="").replace("%", "_")
    began = time.monotonic()
    response = get(flaky(counting, key, 1, 503, value), retries=retry(max_wait=0.2))
    assert time.monotonic() - began < 5
    # Longer than the caller wants to wait: waited as long as that, or given up at once.
    assert response.status_code in {200, 503}


def test_backoff_grows_and_has_jitter(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            urls = [flaky(counting, f"jitter-{n}", 3, 503) for n in range(20)]
            options = {"retries": retry(4, backoff=0.1)}
            await asyncio.gather(*(client.get(url, **options) for url in urls))

    asyncio.run(main())
    pauses = []
    for number in range(20):
        times = times_of(counting, f"jitter-{number}")
        pauses.append([later - sooner for sooner, later in pairwise(times)])
    for step, most in enumerate((0.1, 0.2, 0.4)):
        taken = [pause[step] for pause in pauses]
        assert max(taken) < most + 1
        assert max(taken) - min(taken) > most / 10


def test_retries_stay_within_their_budget(counting: Server) -> None:
    """One retry for five requests, and a small reserve: no storm on a server that is down."""
    callers = 500

    async def main() -> None:
        async with offloop.Client() as client:
            url = flaky(counting, "storm", 10**9, 503)
            options = {"retries": offloop.Retry(attempts=5, backoff=0.001)}
            got = await asyncio.gather(*(client.get(url, **options) for _ in range(callers)))
            assert {response.status_code for response in got} == {503}

    asyncio.run(main())
    assert callers <= len(times_of(counting, "storm")) <= callers * 1.2 + 120


def test_retries_of_the_client_hold_until_a_request_has_its_own(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client(retries=retry(1)) as client:
            assert (await client.get(flaky(counting, "c1", 1, 503))).status_code == 200
            assert (await client.get(flaky(counting, "c2", 1, 503), retries=0)).status_code == 503

    asyncio.run(main())


def test_a_cancelled_backoff_ends_at_once(counting: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            url = flaky(counting, "cancelled", 9, 503, "30")
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.get(url, retries=3)
            assert time.monotonic() - began < 5

    asyncio.run(main())
    assert len(times_of(counting, "cancelled")) == 1
