"""A server that breaks HTTP: each fault is its own exception, in time, and harms no other request.

The faults themselves, and what is expected of each, stand in `tests/servers/broken_answers.py` and
`tests/servers/broken.py`. Every fetch here runs on a client with one connection, and the honest
requests after it show that the connection was given back, and that no forged answer is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from typing import Any
from urllib.parse import quote

import pytest

import offloop
from servers import Server, serve
from servers.broken_answers import ANSWERS, CODED, CUTTABLE, SENTENCE, Answer

READ = 1.0
BODY_STARTS = {name: data.index(b"\r\n\r\n") + 4 for name, data in CUTTABLE.items()}


@pytest.fixture(scope="module")
def broken() -> Iterator[Server]:
    with serve("broken") as running:
        yield running


@pytest.fixture(autouse=True)
def no_connection_is_left_open(broken: Server) -> Iterator[None]:
    yield
    gc.collect()  # a response in the traceback of its own error
    give_up = time.monotonic() + 2
    while broken.stats()["open"]:
        assert time.monotonic() < give_up


def one_connection(**options: Any) -> offloop.Client:
    options.setdefault("timeout", offloop.Timeout(total=10, pool=2, read=READ))
    return offloop.Client(limits=offloop.Limits(connections=1, per_host=1), **options)


async def honest_answers(client: offloop.Client, server: Server, count: int = 3) -> None:
    """The next requests of the same client work and get their own answers."""
    for number in range(count):
        answer = await client.get(f"{server.url}/mine/{number}")
        assert (answer.status_code, answer.content) == (200, str(number).encode())


@contextlib.contextmanager
def fails(error: str, phase: str | None = None, within: float = READ + 0.5) -> Iterator[Any]:
    """Raises exactly this class, in this phase, in time; yields a place for the exception."""
    began = time.monotonic()
    caught: list[Any] = []
    with pytest.raises(offloop.FetchError) as raised:
        yield caught
    caught.append(raised.value)
    assert type(raised.value) is getattr(offloop, error), repr(raised.value)
    assert phase in (None, raised.value.phase), repr(raised.value)
    assert time.monotonic() - began < within


async def read_as_stream(client: offloop.Client, method: str, url: str) -> tuple[int, bytes]:
    async with client.stream(method, url) as response:
        return response.status_code, b"".join([part async for part in response.aiter_bytes()])


async def read_at_once(client: offloop.Client, method: str, url: str) -> tuple[int, bytes]:
    response = await client.request(method, url)
    return response.status_code, response.content


async def expect(answer: Answer, work: Coroutine[Any, Any, tuple[int, bytes]]) -> None:
    if answer.error is None:
        try:
            status, body = await work
        except offloop.ProtocolError:
            assert answer.lenient
        else:
            assert (str(status).encode(), body) == (final_status(answer), answer.body)
    else:
        with fails(answer.error, answer.phase):
            await work


def final_status(answer: Answer) -> bytes:
    """The status in the canned bytes that is no 1xx."""
    statuses = [line[9:12] for line in answer.data.split(b"\n") if line.startswith(b"HTTP/1.")]
    return next(status for status in statuses if not status.startswith(b"1"))


@pytest.mark.parametrize("name", ANSWERS)
def test_a_broken_answer_is_its_own_error_and_the_next_request_gets_its_own(
    broken: Server, name: str
) -> None:
    answer = ANSWERS[name]

    async def main() -> None:
        async def way(kind: str, read: Any) -> None:
            async with one_connection() as client:
                await honest_answers(client, broken, 1)
                url = f"{broken.url}/{kind}/{name}"
                await expect(answer, read(client, answer.method, url))
                await honest_answers(client, broken)

        ways = [way("answer", read_at_once), way("answer", read_as_stream)]
        if not answer.stray:
            # Bytes that come once the next request is on its way are its answer; no client can
            # tell, so what goes on behind its end is sent in one piece.
            ways.append(way("split", read_at_once))
        if answer.then == "keep":
            ways += [way("forged", read_at_once), way("forged", read_as_stream)]
        await asyncio.gather(*ways)

    asyncio.run(main())


def test_bytes_that_arrive_on_an_idle_connection_answer_nothing(broken: Server) -> None:
    async def main() -> None:
        async with one_connection() as client:
            for _ in range(5):
                assert (await client.get(f"{broken.url}/late/0.02")).content == b"hello"
                await asyncio.sleep(0.06)
                await honest_answers(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_message_cut_at_every_byte_is_never_taken_for_whole(broken: Server, name: str) -> None:
    data, start = CUTTABLE[name], BODY_STARTS[name]

    async def cut_at(count: int) -> None:
        async with one_connection() as client:
            url = f"{broken.url}/cut/{name}/{count}"
            with fails(
                "ProtocolError" if count < start else "TruncatedBody",
                "head" if count < start else "body",
            ) as caught:
                await client.get(url)
            if count >= start and name != "chunks":
                error = caught[0]
                assert (error.received, error.expected) == (count - start, len(data) - start)
            await honest_answers(client, broken, 1)

    async def main() -> None:
        await asyncio.gather(*(cut_at(count) for count in range(len(data))))
        async with one_connection() as client:
            whole = await client.get(f"{broken.url}/cut/{name}/{len(data)}")
            assert whole.content.startswith((b"hello", b"twenty"))

    asyncio.run(main())


def test_what_a_stream_has_given_before_the_cut_is_right(broken: Server) -> None:
    async def main(name: str, count: int, expected: bytes) -> None:
        got = b""
        async with one_connection() as client:
            with fails("TruncatedBody", "body"):
                async with client.stream("GET", f"{broken.url}/cut/{name}/{count}") as response:
                    async for chunk in response.aiter_bytes():
                        got += chunk
            assert got == expected
            await honest_answers(client, broken, 1)

    asyncio.run(main("length", BODY_STARTS["length"] + 11, b"twenty-four"))
    asyncio.run(main("chunks", BODY_STARTS["chunks"] + 20, b"hello wo"))


async def outcome(work: Awaitable[offloop.Response]) -> Any:
    """The response, or the exception, of a fetch."""
    try:
        return await work
    except offloop.FetchError as error:
        return error


@pytest.mark.parametrize("coding", CODED)
def test_a_coded_body_is_whole_or_a_decode_error(broken: Server, coding: str) -> None:
    size = len(CODED[coding])

    async def fetch(client: offloop.Client, change: str, count: int) -> None:
        got = await outcome(client.get(f"{broken.url}/coded/{coding}/{change}/{count}"))
        if isinstance(got, offloop.Response):
            # An empty body needs no decoding, and not every bit is under a checksum. Rubbish
            # behind the body is refused or left out.
            assert change != "cut" or count in {0, size}
            if coding != "br" or change != "turned":
                assert got.content == (SENTENCE if count else b"")
        else:
            assert change != "cut" or count < size
            assert (type(got), got.phase) == (offloop.DecodeError, "body"), repr(got)

    async def main() -> None:
        async with offloop.Client() as client:
            await asyncio.gather(*(fetch(client, "cut", count) for count in range(size + 1)))
            await asyncio.gather(*(fetch(client, "turned", count) for count in range(10, size)))
            await fetch(client, "more", 8)
            if coding in {"gzip", "zstd"}:  # several members are one body
                twice = await client.get(f"{broken.url}/coded/{coding}/twice/0")
                assert twice.content == SENTENCE * 2
            await honest_answers(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize(
    "spelling", ["GZIP", "gzip", "x-gzip", "X-GZip", " gzip ", "identity, gzip", "gzip,", ", gzip"]
)
def test_every_spelling_of_a_coding_is_decoded(broken: Server, spelling: str) -> None:
    async def main() -> None:
        async with one_connection() as client:
            url = f"{broken.url}/coded/gzip/cut/10000?{quote(spelling)}"
            assert (await client.get(url)).content == SENTENCE
            async with client.stream("GET", url) as response:
                raw = b"".join([part async for part in response.aiter_raw()])
            assert raw == CODED["gzip"]

    asyncio.run(main())


def test_each_of_256_bytes_in_a_header_is_text_or_refused(broken: Server) -> None:
    token = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    controls = bytes({*range(0x20), 0x7F} - {*b"\t"})

    async def fetch(client: offloop.Client, place: str, number: int) -> None:
        byte = bytes([number])
        got = await outcome(client.get(f"{broken.url}/byte/{place}/{number}"))
        if isinstance(got, offloop.Response):
            assert got.content == b"hello"
            assert byte not in b"\0\r\n"
            if place == "value":
                assert got.headers["x-odd"] == f"a{byte.decode('latin-1')}b"
            elif byte != b":":
                assert byte in token
                assert got.headers[f"x-{byte.decode()}odd"] == "ab"
        else:
            assert (type(got), got.phase) == (offloop.ProtocolError, "head"), repr(got)
            assert byte in controls if place == "value" else byte not in token + b":"

    async def main() -> None:
        async with offloop.Client() as client:
            for place in ("name", "value"):
                await asyncio.gather(*(fetch(client, place, number) for number in range(256)))
            await honest_answers(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["field", "fields", "status-line"])
def test_an_endless_head_is_refused(broken: Server, kind: str) -> None:
    async def main() -> None:
        async with one_connection() as client:
            with fails("HeadersTooLarge", "head"):
                await client.get(f"{broken.url}/endless/{kind}")
            await honest_answers(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["body", "chunks", "until-close"])
def test_an_endless_body_is_refused_at_its_limit(broken: Server, kind: str) -> None:
    async def main() -> None:
        async with one_connection(max_body=1 << 20) as client:
            with fails("BodyTooLarge", "body") as caught:
                await client.get(f"{broken.url}/endless/{kind}")
            assert caught[0].limit == 1 << 20
            await honest_answers(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["close", "reset"])
@pytest.mark.parametrize("form", ["bytes", "iterator"])
def test_an_early_answer_wins_over_the_broken_pipe(broken: Server, kind: str, form: str) -> None:
    ended = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
        finally:
            ended.append(True)

    async def main() -> None:
        async with one_connection() as client:
            content: Any = parts() if form == "iterator" else b"x" * (32 << 20)
            answer = await client.post(f"{broken.url}/upload/early-{kind}", content=content)
            assert (answer.status_code, answer.content) == (413, b"too large")
            await honest_answers(client, broken)
            assert ended == ([True] if form == "iterator" else [])

    asyncio.run(main())


def test_a_reset_in_the_upload_is_an_error(broken: Server) -> None:
    async def main() -> None:
        async with one_connection() as client:
            with pytest.raises((offloop.ConnectError, offloop.ProtocolError)) as caught:
                await client.post(f"{broken.url}/upload/reset", content=b"x" * (32 << 20))
            assert caught.value.phase in {"send", "head"}
            await honest_answers(client, broken)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["reset", "close", "greet"])
def test_a_port_that_does_not_want_to_talk_is_an_error(broken: Server, kind: str) -> None:
    async def main() -> None:
        async with one_connection() as client:
            port = (await client.get(f"{broken.url}/ports")).json()[kind]
            with pytest.raises((offloop.ConnectError, offloop.ProtocolError)) as caught:
                await client.get(f"http://127.0.0.1:{port}/")
            if kind == "greet":
                assert type(caught.value) is offloop.ProtocolError
            await honest_answers(client, broken)

    asyncio.run(main())
