"""Streams mean the same however they are cut into chunks, have limits, and close their source."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import offloop
from conftest import Run
from offloop import streams
from offloop.streams import ServerSentEvent

KIB = 1024


class Chunks:
    """An iterator of bytes that knows whether it was closed."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = list(chunks)
        self.closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.chunks:
            raise StopAsyncIteration
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def aclose(self) -> None:
        self.closed = True


def all_of(make: Callable[..., Any], body: list[bytes], *options: Any) -> Any:
    """Everything that comes, and the error that ends it, if any."""

    async def main() -> Any:
        source = Chunks(*body)
        found: list[Any] = []
        error = None
        try:
            async for each in make(source, *options):
                found.append(each)
        except (ValueError, offloop.FetchError) as raised:
            error = raised
        assert source.closed
        return found, error

    return asyncio.run(main())


def results(make: Callable[..., Any], body: list[bytes], *options: Any) -> Any:
    found, error = all_of(make, body, *options)
    return found, error and (type(error), str(error))


@st.composite
def cut(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A body, and the same in chunks, some of them empty."""
    body = draw(bodies)
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    edges = [0, *places, len(body)]
    return body, [body[start:end] for start, end in itertools.pairwise(edges)]


LINES = st.text(st.sampled_from("ab\r\n\u2028\x85\x0bäß€𝄞"), max_size=40).map(str.encode)


@given(cut(LINES))
def test_lines_are_the_same_however_they_are_cut(case: tuple[bytes, list[bytes]]) -> None:
    body, chunks = case
    expected = re.split("\r\n|\n|\r", body.decode())
    if expected[-1] == "":
        expected.pop()
    for limit in (None, 1000):
        assert all_of(streams.lines, chunks, "utf-8", limit) == (expected, None)


@given(cut(LINES), st.integers(1, 12))
def test_the_limit_strikes_the_same_line_however_it_is_cut(
    case: tuple[bytes, list[bytes]], limit: int
) -> None:
    body, chunks = case
    found, error = results(streams.lines, chunks, "utf-8", limit)
    expected = []
    too_long = None
    for line in all_of(streams.lines, [body], "utf-8", None)[0]:
        if len(line.encode()) > limit:
            too_long = (offloop.BodyTooLarge, f"a line is longer than {limit} bytes")
            break
        expected.append(line)
    assert (found, error) == (expected, too_long)


ENCODINGS = st.sampled_from(["utf-8", "utf-16", "UTF-32", "shift_jis", "latin-1"])


@given(cut(st.binary(max_size=60)), ENCODINGS)
def test_text_is_what_decoding_at_once_gives(case: tuple[bytes, list[bytes]], name: str) -> None:
    body, chunks = case
    found, error = all_of(streams.text, chunks, name)
    assert error is None
    assert all(found)
    assert "".join(found) == body.decode(name, "replace")


@given(cut(st.binary(max_size=60)), st.integers(1, 20))
def test_chunks_have_the_size_asked_for(case: tuple[bytes, list[bytes]], size: int) -> None:
    body, chunks = case
    expected = [body[start : start + size] for start in range(0, len(body), size)]
    assert all_of(streams.rechunk, chunks, size) == (expected, None)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=4,
)


@given(st.data())
def test_json_lines_come_back_as_they_were_written(data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES, max_size=5))
    ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n"])
    text = "".join(json.dumps(each, ensure_ascii=False) + data.draw(ends) for each in values)
    mark = data.draw(st.sampled_from(["", "\ufeff"]))
    _, chunks = data.draw(cut(st.just((mark + text).encode())))
    assert all_of(streams.jsonl, chunks, None) == (values, None)


@pytest.mark.parametrize(
    ("body", "number"),
    [(b"1\n\n{\n4", 3), (b'1\n"\xff"\n', 2), (b"1\nNaNa\n", 2), (b"1\n" + b"9" * 10_000, 2)],
)
def test_a_line_that_is_no_json_is_named(body: bytes, number: int) -> None:
    for chunks in ([body], [body[index : index + 1] for index in range(len(body))]):
        found, error = all_of(streams.jsonl, chunks, None)
        assert found == [1]
        assert isinstance(error, ValueError)
        assert f"line {number}" in str(error)


def test_json_nested_too_deeply_is_a_recursion_error() -> None:
    async def main() -> None:
        with pytest.raises(RecursionError):
            async for _ in streams.jsonl(Chunks(b"[" * 10**6), None):
                pass

    asyncio.run(main())


def test_an_endless_line_ends_at_the_limit() -> None:
    class Endless:
        taken = 0

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            self.taken += 1
            return b"data: " + b"x" * 64 * KIB

    async def main() -> None:
        for make in (
            lambda source: streams.lines(source, "utf-8", 1024 * KIB),
            lambda source: streams.jsonl(source, 1024 * KIB),
            lambda source: streams.sse(source, 1024 * KIB),
        ):
            source = Endless()
            with pytest.raises(offloop.BodyTooLarge) as caught:
                async for _ in make(source):
                    pass
            assert caught.value.limit == 1024 * KIB
            assert source.taken <= 17

    asyncio.run(main())


def test_an_endless_event_ends_at_the_limit() -> None:
    found, error = all_of(streams.sse, [b"data: 1\n\n", *[b"data: x\n"] * 1000], 100)
    assert [event.data for event in found] == ["1"]
    assert isinstance(error, offloop.BodyTooLarge)


def test_a_line_is_there_as_soon_as_its_end_is() -> None:
    async def main() -> None:
        source = Chunks(b"a\r", b"\nb\r", ValueError("asked for too much"))
        lines = streams.lines(source, "utf-8", None)
        assert [await anext(lines), await anext(lines)] == ["a", "b"]
        await lines.aclose()

    asyncio.run(main())


def test_many_lines_in_many_chunks_take_linear_time() -> None:
    body = [b"x" * 100] * 20_000
    assert all_of(streams.lines, body, "utf-8", 10**7) == (["x" * 2_000_000], None)
    assert len(all_of(streams.rechunk, [b"x" * 4_000_000], 100)[0]) == 40_000


def test_a_codec_that_unpacks_is_no_encoding() -> None:
    async def main() -> None:
        for name in ("zlib", "no-such-encoding"):
            source = Chunks(b"x")
            with pytest.raises(LookupError):
                await anext(streams.text(source, name))
            assert source.closed

    asyncio.run(main())


def test_chunks_of_no_bytes_are_refused() -> None:
    _, error = all_of(streams.rechunk, [b"x"], 0)
    assert isinstance(error, ValueError)


def test_each_generator_closes_its_source_however_it_ends() -> None:
    makers: list[Callable[[Any], Any]] = [
        lambda source: streams.text(source, "utf-8"),
        lambda source: streams.lines(source, "utf-8", None),
        lambda source: streams.jsonl(source, None),
        lambda source: streams.sse(source, None),
        lambda source: streams.rechunk(source, 4),
    ]

    async def main() -> None:
        for make in makers:
            source = Chunks(b"1\n", b"data:1\n\n", b"2\n")
            generator = make(source)
            if make is makers[2]:
                source.chunks.pop(1)
            await anext(generator)
            assert not source.closed
            await generator.aclose()
            assert source.closed

            source = Chunks(offloop.TruncatedBody("cut"))
            with pytest.raises(offloop.TruncatedBody):
                await anext(make(source))
            assert source.closed

    asyncio.run(main())


def event(data: str, event: str = "message", **fields: Any) -> ServerSentEvent:
    return ServerSentEvent(event=event, data=data, **fields)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        # The first four are the examples of the standard.
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [event("YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
            [event("first", id="1"), event("second"), event(" third")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [event(""), event("\n")]),
        ("data:test\n\ndata: test\n\n", [event("test"), event("test")]),
        ("event: add\ndata: 1\n\ndata: 2\n\n", [event("1", "add"), event("2")]),
        ("event: add\n\ndata: 1\n\n", [event("1")]),
        ("id: 7\n\ndata: 1\n\n", [event("1", id="7")]),
        ("id: 7\ndata: 1\n\nid: 8\0\ndata: 2\n\n", [event("1", id="7"), event("2", id="7")]),
        ("retry: 1500\ndata: 1\n\ndata: 2\n\n", [event("1", retry=1.5), event("2")]),
        ("retry: 1.5\nretry: -1\nretry: ٣\nretry:\ndata: 1\n\n", [event("1")]),
        ("retry: " + "9" * 10_000 + "\ndata: 1\n\n", [event("1", retry=999999999999.999)]),
        ("\ufeffdata: 1\n\n\ufeffdata: 2\n\n", [event("1")]),
        ("Data: 1\n\n data: 1\n\nnonsense: 1\n\n", []),
        ("data: cut off", []),
        ("data: cut off\n", []),
        ("data: ä\u2028\x85\n\n", [event("ä\u2028\x85")]),
    ],
)
def test_an_event_stream_is_read_as_the_standard_says(stream: str, events: list[Any]) -> None:
    for end in ("\n", "\r", "\r\n"):
        body = stream.replace("\n", end).encode()
        assert all_of(streams.sse, [body], None) == (events, None)
        single = [body[index : index + 1] for index in range(len(body))]
        assert all_of(streams.sse, single, None) == (events, None)


FIELDS = st.sampled_from(
    ["data", "data: a", "data:b", ": c", "id: 1", "id", "event: e", "retry: 10", "x: y", "ä", ""]
)


@given(st.data())
@settings(max_examples=200)
def test_events_are_the_same_however_they_are_cut(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.tuples(FIELDS, st.sampled_from(["\n", "\r", "\r\n"]))))
    body, chunks = data.draw(cut(st.just("".join(map("".join, parts)).encode())))
    assert all_of(streams.sse, chunks, None) == all_of(streams.sse, [body], None)


def test_the_data_of_an_event_can_be_json() -> None:
    assert event('{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(ValueError):
        event("{").json()


class Stream:
    """A response of a server of events."""

    def __init__(
        self,
        *chunks: bytes | Exception,
        status_code: int = 200,
        content_type: str = "text/event-stream; charset=utf-8",
    ) -> None:
        self.status_code = status_code
        self.headers = {"content-type": content_type}
        self.chunks = Chunks(*chunks)
        self.closed = False

    def aiter_bytes(self) -> Chunks:
        return self.chunks

    async def aclose(self) -> None:
        self.closed = True


class Opener:
    """Gives one answer after the other, and remembers what was asked."""

    def __init__(self, *answers: Stream | Exception) -> None:
        self.answers = list(answers)
        self.streams = [answer for answer in answers if isinstance(answer, Stream)]
        self.asked: list[str | None] = []

    async def __call__(self, last_event_id: str | None) -> Stream:
        self.asked.append(last_event_id)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_an_event_stream_is_reopened_where_it_ended(
    run: Run[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[float | None, int]] = []

    def no_wait(retry: float | None, fruitless: int) -> float:
        waited.append((retry, fruitless))
        return 0.0

    monkeypatch.setattr(streams, "_wait", no_wait)
    opener = Opener(
        Stream(b"retry: 10\n\nid: 1\ndata: a\n\n"),
        offloop.ConnectError("refused"),
        Stream(b"data: b\n\nid: 3\ndata: c\n\ndata: lost", offloop.TruncatedBody("cut")),
        Stream(offloop.ProtocolError("garbage")),
        Stream(b"id\ndata: d\n\n"),
        Stream(status_code=204),
    )

    async def main() -> None:
        found = [(each.data, each.id) async for each in streams.reconnecting_sse(opener, None)]
        assert found == [("a", "1"), ("b", "1"), ("c", "3"), ("d", "")]
        assert opener.asked == [None, "1", "1", "3", "3", None]
        assert waited == [(0.01, 0), (0.01, 1), (0.01, 0), (0.01, 1), (0.01, 0)]
        assert all(stream.closed for stream in opener.streams)

    run(main())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Stream(status_code=500), offloop.StatusError),
        (Stream(content_type="text/html"), offloop.ProtocolError),
        (Stream(content_type=""), offloop.ProtocolError),
        (offloop.InvalidHeader("bad id"), offloop.InvalidHeader),
        (offloop.TLSError("expired"), offloop.TLSError),
        (Stream(b"data: " + b"x" * 101), offloop.BodyTooLarge),
        (ZeroDivisionError("not ours"), ZeroDivisionError),
    ],
)
def test_what_no_second_try_would_mend_is_raised(answer: Any, error: type[Exception]) -> None:
    opener = Opener(Stream(b"retry: 0\n\ndata: a\n\n"), answer)

    async def main() -> None:
        events = streams.reconnecting_sse(opener, 100)
        assert (await anext(events)).data == "a"
        with pytest.raises(error):
            await anext(events)
        assert all(stream.closed for stream in opener.streams)

    asyncio.run(main())


def test_leaving_an_event_stream_closes_the_response() -> None:
    stream = Stream(b"data: a\n\n", b"data: b\n\n")

    async def main() -> None:
        events = streams.reconnecting_sse(Opener(stream), None)
        await anext(events)
        await events.aclose()
        assert stream.closed
        assert stream.chunks.closed

    asyncio.run(main())


def test_the_wait_grows_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.random, "uniform", lambda low, high: low)
    assert [streams._wait(None, count) for count in (0, 1, 2, 9)] == [3.0, 6.0, 12.0, 60.0]
    assert streams._wait(None, 10**6) == 60.0
    assert [streams._wait(0.0, count) for count in (0, 1, 2)] == [0.0, 0.2, 0.4]
    assert streams._wait(300.0, 0) == streams._wait(300.0, 5) == 300.0
    assert streams._wait(1e12, 0) == 3600.0
    monkeypatch.undo()
    waits = {streams._wait(None, 0) for _ in range(50)}
    assert len(waits) > 1
    assert 3.0 <= min(waits) <= max(waits) <= 3.75
