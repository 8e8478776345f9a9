"""Kept connections that the server closes just as the next request is sent (FAULTS F5, P7).

Idempotent requests are replayed once, unseen; a POST reaches the server at most once, whatever
happens. `tests/servers/fickle.py` closes at random, or exactly on the second request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import offloop
from servers import Server, serve

FETCHES = 5_000
IN_FLIGHT = 64


@pytest.fixture
def fickle() -> Iterator[Server]:
    with serve("fickle") as running:
        yield running


def seen(server: Server) -> Any:
    """How often the server read each request, by its x-id."""
    return server.stats()["seen"]


async def in_flight(count: int, width: int, work: Any) -> None:
    """Runs work(0) … work(count - 1), `width` at a time."""
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(lane() for _ in range(width)))


def test_a_get_never_shows_that_its_connection_was_stale(fickle: Server) -> None:
    errors = []

    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(per_host=IN_FLIGHT)) as client:

            async def get(number: int) -> None:
                key = f"get-{number}"
                try:
                    response = await client.get(f"{fickle.url}/random", headers={"x-id": key})
                    assert response.content == key.encode()
                    assert len(response.attempts) <= 2
                except offloop.FetchError as error:
                    errors.append(error)

            await in_flight(FETCHES, IN_FLIGHT, get)

    asyncio.run(main())
    assert errors == []
    stats = fickle.stats()
    assert stats["random"] > FETCHES // 20
    assert all(stats["seen"][f"get-{number}"] in {1, 2} for number in range(FETCHES))


def test_a_post_is_read_at_most_once(fickle: Server) -> None:
    outcomes = {}

    async def main() -> None:
        async with offloop.Client(limits=offloop.Limits(per_host=IN_FLIGHT)) as client:

            async def post(number: int) -> None:
                key = f"post-{number}"
                try:
                    response = await client.post(
                        f"{fickle.url}/random", headers={"x-id": key}, content=key
                    )
                    outcomes[key] = response.content
                except (offloop.ProtocolError, offloop.ConnectError) as error:
                    outcomes[key] = error

            await in_flight(FETCHES // 2, IN_FLIGHT, post)

    asyncio.run(main())
    counts = seen(fickle)
    assert max(counts.values()) == 1
    for key, outcome in outcomes.items():
        if isinstance(outcome, bytes):
            assert (outcome, counts[key]) == (key.encode(), 1)


def attempts_of(outcome: Any) -> list[tuple[bool, bool]]:
    """For each try, whether its connection was used before, and whether it failed."""
    return [(attempt.reused, attempt.error is not None) for attempt in outcome.attempts]


async def warm(client: offloop.Client, server: Server) -> None:
    await client.get(f"{server.url}/second", headers={"x-id": "warm"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_is_replayed_once(fickle: Server, method: str) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            await warm(client, fickle)
            options: dict[str, Any] = {"content": b"body"} if method == "PUT" else {}
            response = await client.request(
                method, f"{fickle.url}/second", headers={"x-id": "own"}, **options
            )
            assert response.content == (b"" if method == "HEAD" else b"own")
            assert attempts_of(response) == [(True, True), (False, False)]

    asyncio.run(main())
    assert seen(fickle)["own"] == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_methods_are_never_replayed(fickle: Server, method: str) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            await warm(client, fickle)
            with pytest.raises(offloop.ProtocolError) as caught:
                await client.request(
                    method, f"{fickle.url}/second", headers={"x-id": "own"}, content=b"body"
                )
            assert attempts_of(caught.value) == [(True, True)]

    asyncio.run(main())
    assert seen(fickle)["own"] == 1


def test_retry_stale_false_turns_it_off(fickle: Server) -> None:
    async def main() -> None:
        async with offloop.Client(retry_stale=False) as client:
            await warm(client, fickle)
            with pytest.raises(offloop.ProtocolError) as caught:
                await client.get(f"{fickle.url}/second", headers={"x-id": "own"})
            assert caught.value.phase == "head"

    asyncio.run(main())
    assert seen(fickle)["own"] == 1


def test_nothing_is_replayed_after_the_first_byte_of_a_response(fickle: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            await warm(client, fickle)
            with pytest.raises(offloop.ProtocolError):
                await client.get(f"{fickle.url}/second/half", headers={"x-id": "own"})

    asyncio.run(main())
    assert seen(fickle)["own"] == 1


def test_nothing_is_replayed_on_a_fresh_connection(fickle: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises(offloop.ProtocolError) as caught:
                await client.get(f"{fickle.url}/first", headers={"x-id": "own"})
            assert attempts_of(caught.value) == [(False, True)]

    asyncio.run(main())
    assert seen(fickle)["own"] == 1


def test_a_body_that_was_read_from_is_not_replayed(fickle: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            await warm(client, fickle)
            with pytest.raises((offloop.ProtocolError, offloop.UnreplayableBody)):
                await client.put(
                    f"{fickle.url}/second", headers={"x-id": "own"}, content=iter([b"a", b"b"])
                )

    asyncio.run(main())
    assert seen(fickle)["own"] == 1
