"""What users give as a body becomes what Rust sends."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from encoded_body import body, drain
from hypothesis import given
from hypothesis import strategies as st

from offloop import _sources
from offloop._content import Encoded, encode
from offloop._sources import HOP_BYTES


@pytest.mark.parametrize(
    "content",
    ["grün", "grün".encode(), bytearray(b"gr\xc3\xbcn"), memoryview(b"gr\xc3\xbcn")],
)
def test_bytes_and_text_are_sent_as_they_are(content: Any) -> None:
    for encoded in (encode(content), encode(data=content)):
        assert encoded == Encoded(["grün".encode()], 5, None, None)
        assert type(encoded.pieces[0]) is bytes


def test_nothing_is_nothing() -> None:
    for encoded in (encode(), encode(data={}), encode(files={}), encode(data=[], files=[])):
        assert encoded == Encoded([], 0, None, None)


def test_a_path_is_left_to_rust(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x" * 1000)
    assert encode(path) == Encoded([path], 1000, None, None)


def test_a_path_that_cannot_be_sent_fails_at_the_call(tmp_path: Path) -> None:
    for make in (lambda path: encode(path), lambda path: encode(files={"f": path})):
        with pytest.raises(FileNotFoundError) as caught:
            make(tmp_path / "missing")
        assert caught.value.filename in (tmp_path / "missing", str(tmp_path / "missing"))
        with pytest.raises(IsADirectoryError) as directory:
            make(tmp_path)
        assert directory.value.filename == str(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    encoded = encode(path)
    assert encoded.length is None
    writer = threading.Thread(target=path.write_bytes, args=(b"x" * 100_000,))
    writer.start()
    assert body(encoded) == b"x" * 100_000
    writer.join()


def test_lists_of_chunks_can_be_sent_again() -> None:
    assert encode([b"a", bytearray(b"b")]) == encode((b"a", b"b")) == encode(b"ab")


def test_iterators_of_all_kinds_are_streamed() -> None:
    async def asynchronous() -> AsyncIterator[bytes]:
        for chunk in (b"a", b"", bytearray(b"b"), memoryview(b"c")):
            yield chunk

    class Again:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"ab", b"c"])

    for content in (asynchronous(), iter([b"a", b"", b"bc"]), Again(), (b for b in [b"abc"])):
        encoded = encode(content)
        assert (encoded.length, encoded.content_type) == (None, None)
        assert body(encoded) == b"abc"


def test_small_chunks_travel_together_and_slow_ones_do_not_wait() -> None:
    def many() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    chunks = asyncio.run(drain(encode(many()).source))
    assert len(chunks) <= 5
    assert max(map(len, chunks)) < HOP_BYTES + 1024

    arrived = threading.Event()

    def slow() -> Iterator[bytes]:
        threading.Event().wait(2 * _sources.PATIENCE)
        yield b"first"
        assert arrived.wait(10)
        yield b"second"

    async def main() -> None:
        source = encode(slow()).source
        assert source is not None
        assert await anext(source) == b"first"
        arrived.set()
        assert await drain(source) == [b"second"]

    asyncio.run(main())


def test_a_blocking_iterator_runs_in_worker_threads() -> None:
    def blocking() -> Iterator[bytes]:
        yield threading.current_thread().name.encode()

    assert body(encode(blocking())).startswith(b"offloop-")


def test_a_file_object_is_sent_from_where_it_stands_and_left_open(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(256)) * 4096)
    with path.open("rb") as file:
        file.read(10)
        encoded = encode(file)
        assert encoded.length == 256 * 4096 - 10
        assert body(encoded) == path.read_bytes()[10:]
        assert not file.closed
    with path.open("rb", buffering=0) as raw:
        assert body(encode(raw)) == path.read_bytes()
    memory = io.BytesIO(b"abcd")
    memory.seek(1)
    assert encode(memory) == encode(b"bcd")


def test_a_file_that_grows_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before")
    with path.open("rb") as file:
        encoded = encode(file)
        with path.open("ab") as log:
            log.write(b" after")
        assert body(encoded) == b"before"


def test_a_compressed_file_has_no_length_but_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"x" * 10_000))
    with gzip.open(path) as file:
        encoded = encode(file)
        assert encoded.length is None
        assert body(encoded) == b"x" * 10_000


def test_a_file_with_an_awaitable_read_is_awaited() -> None:
    class Upload:
        filename = "x"

        def __init__(self) -> None:
            self.file = io.BytesIO(b"x" * 1000)

        async def read(self, size: int = -1) -> bytes:
            return self.file.read(min(size, 300))

    assert asyncio.run(drain(encode(Upload()).source)) == [b"x" * 300] * 3 + [b"x" * 100]


@pytest.mark.parametrize(
    "content", [3, object(), {"a": 1}, {"a": b"1"}, 1.5, True, ["a"], [1], io.StringIO("a")]
)
def test_what_is_no_body_is_refused_at_the_call(content: Any) -> None:
    with pytest.raises(TypeError):
        encode(content)


def test_a_text_file_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with (tmp_path / "x").open() as file, pytest.raises(TypeError, match="binary mode"):
        encode(file)


def test_chunks_that_are_no_bytes_are_refused_on_the_way() -> None:
    async def asynchronous() -> AsyncIterator[Any]:
        yield "text"

    for content in (iter(["text"]), iter([1]), asynchronous(), (c for c in [None])):
        with pytest.raises(TypeError, match="chunks of bytes"):
            body(encode(content))


@pytest.mark.parametrize(
    "options",
    [
        {"content": b"", "json": 1},
        {"content": b"", "data": {}},
        {"content": b"", "files": {}},
        {"data": {}, "json": {}},
        {"files": {}, "json": {}},
        {"data": b"x", "files": {"f": b"x"}},
        {"data": 3},
        {"data": [b"chunk"]},
        {"data": iter([b"chunk"])},
        {"data": {1: "a"}},
        {"data": {"a": object()}},
        {"data": {"a": {"b": 1}}},
        {"data": [("a", "b", "c")]},
        {"files": b"x"},
        {"files": {"f": 3}},
        {"files": {"f": ("name",)}},
        {"files": {"f": ("name", b"", "a/b", {}, 5)}},
        {"files": {"f": (b"name", b"")}},
        {"files": {"f": ("name", b"", "a/b", {"X": 3})}},
        {"files": {"f": None}},
    ],
)
def test_options_that_contradict_each_other_or_make_no_form_are_refused(options: Any) -> None:
    with pytest.raises(TypeError):
        encode(**options)


def test_json_is_compact_and_keeps_its_letters() -> None:
    encoded = encode(json={"ä": [1, 2.5, None, True, 10**30]})
    assert encoded.content_type == "application/json"
    assert encoded.pieces == ['{"ä":[1,2.5,null,true,1000000000000000000000000000000]}'.encode()]
    for value in (0, "", [], {}, False):
        assert json.loads(body(encode(json=value))) == value
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            encode(json=number)
    with pytest.raises(ValueError):
        encode(json="\ud800")
    with pytest.raises(TypeError):
        encode(json=object())


def test_a_form_is_urlencoded() -> None:
    data = {"a": 1, "b": [True, False, None, 2.5], "c d": "ü&=", "e": b"\xff", "f": ()}
    encoded = encode(data=data)
    assert encoded.content_type == "application/x-www-form-urlencoded"
    assert body(encoded) == b"a=1&b=true&b=false&b=&b=2.5&c+d=%C3%BC%26%3D&e=%FF"
    pairs = [("a", "1"), ("b", "2"), ("a", "3")]
    assert encode(data=pairs) == encode(data=iter(pairs))
    assert body(encode(data=pairs)) == b"a=1&b=2&a=3"


@given(st.lists(st.tuples(st.text(), st.text())))
def test_a_form_comes_back_as_it_was(pairs: list[tuple[str, str]]) -> None:
    text = body(encode(data=pairs)).decode()
    assert parse_qsl(text, keep_blank_values=True) == pairs
