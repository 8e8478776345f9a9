"""What users give as a body becomes what Rust sends; streamed bodies are pushed and closed."""

from __future__ import annotations

import asyncio
import email.parser
import email.policy
import gc
import gzip
import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

import offloop
from conftest import Run
from offloop import _content
from offloop._content import HOP_BYTES, Encoded, encode, feed, start

HOSTILE = ["\r", "\n", "\r\n", "\u010a", "\u2028", '"', "\\", "; ", "--", "ä", "%0A"]


async def drain(source: AsyncIterator[bytes] | None) -> list[bytes]:
    assert source is not None
    return [chunk async for chunk in source]


def body(encoded: Encoded) -> bytes:
    """The bytes that would be sent; their number is checked."""
    if encoded.source is None:
        pieces = [
            piece.read_bytes() if isinstance(piece, Path) else piece for piece in encoded.pieces
        ]
    else:
        assert encoded.pieces == []
        pieces = asyncio.run(drain(encoded.source))
        assert all(pieces)
    whole = b"".join(pieces)
    if encoded.length is not None:
        assert len(whole) == encoded.length
    return whole


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
        threading.Event().wait(2 * _content.PATIENCE)
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


def parts(encoded: Encoded) -> list[Any]:
    """The parts of a multipart body, as the standard library reads them."""
    assert encoded.content_type is not None
    whole = b"Content-Type: " + encoded.content_type.encode() + b"\r\n\r\n" + body(encoded)
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
    assert message.is_multipart()
    assert not message.defects
    return list(message.iter_parts())


def split(encoded: Encoded) -> list[tuple[bytes, bytes]]:
    """Head and content of each part, by nothing but the boundary."""
    assert encoded.content_type is not None
    boundary = encoded.content_type.partition("boundary=")[2].encode()
    first, *found, last = (b"\r\n" + body(encoded)).split(b"\r\n--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    heads_and_contents = []
    for each in found:
        head, gap, content = each.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert gap
        heads_and_contents.append((head, content))
    return heads_and_contents


def escaped(name: str) -> str:
    return name.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


NAMES = st.lists(st.sampled_from([*"ab.;=' ", *HOSTILE])).map("".join)
CONTENTS = st.binary() | st.sampled_from([b"\r\n", b"--", b"\r\n--x--\r\n", b"\n"])


@given(
    st.lists(st.tuples(NAMES, CONTENTS)),
    st.lists(st.tuples(NAMES, NAMES, CONTENTS), min_size=1),
    st.booleans(),
)
def test_no_name_and_no_content_breaks_out_of_its_part(
    fields: list[tuple[str, bytes]], files: list[tuple[str, str, bytes]], streamed: bool
) -> None:
    uploads = [
        (name, (filename, iter([content]) if streamed else content))
        for name, filename, content in files
    ]
    encoded = encode(data=fields, files=uploads)
    assert (encoded.source is not None) == streamed
    found = split(encoded)
    expected = [(name, None, content) for name, content in fields] + list(files)
    assert len(found) == len(expected)
    for (head, content), (name, filename, sent) in zip(found, expected, strict=True):
        assert content == sent
        first, *others = head.decode().split("\r\n")
        disposition = f'Content-Disposition: form-data; name="{escaped(name)}"'
        if filename is not None:
            disposition += f'; filename="{escaped(filename)}"'
        assert first == disposition
        assert [other.partition(":")[0] for other in others] == ["Content-Type"] * bool(
            filename is not None
        )


PLAIN = st.text(st.sampled_from("ab \t\r\n;=,.'%"), min_size=1)


@given(st.lists(st.tuples(PLAIN, PLAIN, CONTENTS), min_size=1))
def test_the_email_package_reads_a_multipart_form(files: list[tuple[str, str, bytes]]) -> None:
    uploads = [(name, (filename, content)) for name, filename, content in files]
    found = parts(encode(files=uploads))
    assert len(found) == len(files)
    for part, (name, filename, content) in zip(found, files, strict=True):
        disposition = part.get_all("content-disposition")
        assert len(disposition) == 1
        parameters = dict(part["content-disposition"].params)
        assert parameters == {"name": escaped(name), "filename": escaped(filename)}
        assert part.get_payload(decode=True) == content


def test_a_multipart_form_of_everything(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"PNG")
    with path.open("rb") as file:
        encoded = encode(
            data={"a": [1, None], "b": True},
            files=[
                ("raw", b"raw"),
                ("text", "grün"),
                ("path", path),
                ("file", file),
                ("tuple", ("x.json", b"{}")),
                ("typed", ("x", iter([b"t", b"yped"]), "text/x-own; charset=utf-8")),
                (
                    "headed",
                    ("x.txt", io.BytesIO(b"h"), None, {"X-Own": "ü", "content-type": "a/b"}),
                ),
                ("plain", (None, "a field")),
                ("odd", ("no.such-type", b"")),
                ("packed", ("x.json.gz", b"")),
            ],
        )
        assert encoded.length is None
        found = split(encoded)
    form = "Content-Disposition: form-data; "
    assert [(head.decode().split("\r\n"), content) for head, content in found] == [
        ([form + 'name="a"'], b"1"),
        ([form + 'name="a"'], b""),
        ([form + 'name="b"'], b"true"),
        (
            [form + 'name="raw"; filename="upload"', "Content-Type: application/octet-stream"],
            b"raw",
        ),
        (
            [form + 'name="text"; filename="upload"', "Content-Type: application/octet-stream"],
            "grün".encode(),
        ),
        ([form + 'name="path"; filename="photo.png"', "Content-Type: image/png"], b"PNG"),
        ([form + 'name="file"; filename="photo.png"', "Content-Type: image/png"], b"PNG"),
        ([form + 'name="tuple"; filename="x.json"', "Content-Type: application/json"], b"{}"),
        (
            [form + 'name="typed"; filename="x"', "Content-Type: text/x-own; charset=utf-8"],
            b"typed",
        ),
        (
            [form + 'name="headed"; filename="x.txt"', "X-Own: ü", "content-type: a/b"],
            b"h",
        ),
        ([form + 'name="plain"'], b"a field"),
        (
            [
                form + 'name="odd"; filename="no.such-type"',
                "Content-Type: application/octet-stream",
            ],
            b"",
        ),
        (
            [
                form + 'name="packed"; filename="x.json.gz"',
                "Content-Type: application/octet-stream",
            ],
            b"",
        ),
    ]


def test_a_multipart_form_of_bytes_and_paths_can_be_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"content")
    encoded = encode(data={"a": "1"}, files={"x": path, "y": b"2"})
    assert encoded.source is None
    assert [type(piece) for piece in encoded.pieces] == [bytes, type(path), bytes]
    assert len(split(encoded)) == 3
    assert body(encoded) == body(encoded)
    other = encode(data={"a": "1"}, files={"x": path, "y": b"2"})
    assert other.content_type != encoded.content_type


def test_the_length_of_a_form_with_an_open_file_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        encoded = encode(files={"x": file, "y": path})
        assert encoded.length is not None
        assert [content for _, content in split(encoded)] == [b"content"] * 2


def test_unnamed_files_are_called_upload() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        file.seek(0)
        ((head, content),) = split(encode(files={"f": file}))
    assert b'filename="upload"' in head
    assert content == b"x"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_that_is_not_utf_8_is_sent_as_it_is(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt"))
    path.write_bytes(b"x")
    ((head, _),) = split(encode(files={"f": path}))
    assert b'filename="\xff.txt"' in head


@pytest.mark.parametrize("hostile", ["\r", "\n", "\0", "\r\nX: y", "\x7f"])
def test_injection_into_a_part_is_refused_at_the_call(hostile: str) -> None:
    uploads: list[Any] = [
        ("name", b"", f"a/b{hostile}"),
        ("name", b"", None, {"X": f"a{hostile}"}),
        ("name", b"", None, {f"X{hostile}": "a"}),
        ("name", b"", None, {"Content-Type": f"a/b{hostile}"}),
    ]
    for upload in uploads:
        with pytest.raises(offloop.InvalidHeader):
            encode(files={"f": upload})


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "Content-Disposition"])
def test_what_is_no_header_of_a_part_is_refused(name: str) -> None:
    with pytest.raises(offloop.InvalidHeader):
        encode(files={"f": ("x", b"", None, {name: "x"})})


def test_a_nul_in_a_name_is_refused() -> None:
    for options in (
        {"files": {"a\0": b""}},
        {"files": {"a": ("a\0", b"")}},
        {"files": {"a": b""}, "data": {"a\0": 1}},
    ):
        with pytest.raises(offloop.InvalidHeader):
            encode(**options)  # type: ignore[arg-type]


def test_letters_that_end_in_a_line_feeds_byte_stay_whole() -> None:
    (head, _), *_ = split(encode(files={"\u010a\u2028": ("\u010d", b"", "a/\u010a")}))
    assert head.decode().split("\r\n") == [
        'Content-Disposition: form-data; name="\u010a\u2028"; filename="\u010d"',
        "Content-Type: a/\u010a",
    ]


def test_a_file_name_cannot_choose_its_own_type() -> None:
    for filename in ("data:text/html;a,b", "data:a/b\r\nX: y,b", "http://x/a.html\r\n"):
        ((head, _),) = split(encode(files={"f": (filename, b"")}))
        assert head.decode().count("\r\n") == 1
        assert b"X: y," not in head.split(b"\r\n")[1]
        assert head.decode().split("\r\n")[1].startswith("Content-Type: application/octet-stream")


class FakeUpload:
    """Rust's end of a body; takes `room` chunks and then is over."""

    def __init__(self, room: int = sys.maxsize) -> None:
        self.room = room
        self.chunks: list[bytes] = []
        self.ends: list[Any] = []
        self.over = asyncio.get_running_loop().create_future()
        self.sent = asyncio.Event()
        self.blocked = False

    async def send(self, chunk: bytes) -> None:
        if len(self.chunks) == self.room:
            raise offloop.Closed("the request is over")
        self.chunks.append(chunk)
        self.sent.set()
        if self.blocked:
            await asyncio.get_running_loop().create_future()

    def finish(self) -> None:
        self.ends.append("finish")

    def fail(self, error: BaseException) -> None:
        self.ends.append(error)

    def closed(self) -> FakeUpload:
        return self

    def start(self) -> asyncio.Future[None]:
        return self.over


class Watched:
    """Generators that tell when they are closed."""

    def __init__(self, count: int = 1000, error: BaseException | None = None) -> None:
        self.count = count
        self.error = error
        self.closed = threading.Event()

    def blocking(self) -> Iterator[bytes]:
        try:
            for _ in range(self.count):
                yield b"x" * HOP_BYTES
            if self.error:
                raise self.error
        finally:
            self.closed.set()

    async def awaited(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self.count):
                yield b"x"
            if self.error:
                raise self.error
        finally:
            self.closed.set()


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_a_source_is_pushed_to_its_end(run: Run[Any], kind: str) -> None:
    async def main() -> None:
        watched, upload = Watched(count=3), FakeUpload()
        source = encode(getattr(watched, kind)()).source
        await feed(upload, source)
        assert len(upload.chunks) == 3
        assert upload.ends == ["finish"]
        assert watched.closed.is_set()

    run(main())


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_what_a_source_raises_reaches_the_request(run: Run[Any], kind: str) -> None:
    async def main() -> None:
        for error in (KeyError("mine"), offloop.Closed("mine, too")):
            watched, upload = Watched(count=2, error=error), FakeUpload()
            await feed(upload, encode(getattr(watched, kind)()).source)
            assert upload.ends == [error]
            assert len(upload.chunks) == 2

    run(main())


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_a_source_is_closed_when_the_request_wants_no_more(run: Run[Any], kind: str) -> None:
    async def main() -> None:
        watched, upload = Watched(), FakeUpload(room=2)
        await feed(upload, encode(getattr(watched, kind)()).source)
        assert upload.ends == []
        assert watched.closed.is_set()

    run(main())


@pytest.mark.parametrize("kind", ["blocking", "awaited"])
def test_an_early_answer_ends_the_upload_and_closes_its_source(run: Run[Any], kind: str) -> None:
    async def main() -> None:
        watched, upload = Watched(), FakeUpload()
        upload.blocked = True
        task = start(upload, encode(getattr(watched, kind)()).source)
        await upload.sent.wait()
        upload.over.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await offloop.run(watched.closed.wait, 10)
        assert "finish" not in upload.ends
        assert task not in _content._feeding

    run(main())


def test_a_source_that_waits_is_cancelled_and_closed(run: Run[Any]) -> None:
    async def main() -> None:
        waits, closed = asyncio.Event(), asyncio.Event()

        async def never() -> AsyncIterator[bytes]:
            try:
                waits.set()
                await asyncio.get_running_loop().create_future()
                yield b""
            finally:
                await asyncio.sleep(0)
                closed.set()

        upload = FakeUpload()
        task = start(upload, encode(never()).source)
        await waits.wait()
        upload.over.set_result(None)
        await closed.wait()
        await asyncio.wait([task])
        assert task.cancelled()

    run(main())


def test_a_generator_that_is_at_work_when_it_is_left_is_closed_when_it_comes_out() -> None:
    async def main() -> None:
        works, go, closed = threading.Event(), threading.Event(), threading.Event()

        def blocking() -> Iterator[bytes]:
            try:
                works.set()
                assert go.wait(10)
                yield b"x" * HOP_BYTES
                yield b"never asked for"
            finally:
                closed.set()

        upload = FakeUpload()
        task = start(upload, encode(blocking()).source)
        await offloop.run(works.wait, 10)
        upload.over.set_result(None)
        asyncio.get_running_loop().call_soon(go.set)
        await asyncio.wait([task])
        assert await offloop.run(closed.wait, 10)
        assert upload.chunks == []

    asyncio.run(main())


def test_an_upload_that_never_began_does_not_keep_the_request_waiting() -> None:
    async def main() -> None:
        upload = FakeUpload()
        task = start(upload, encode(Watched().awaited()).source)
        task.cancel()
        await asyncio.wait([task])
        assert [type(end) for end in upload.ends] == [asyncio.CancelledError]
        assert upload.over.cancelled()

    asyncio.run(main())


def test_all_generators_of_a_form_are_closed() -> None:
    async def main() -> None:
        many = [Watched(), Watched(), Watched()]
        generators = [watched.blocking() for watched in many[:2]] + [many[2].awaited()]
        next(generators[1])  # type: ignore[arg-type]
        await anext(generators[2])  # type: ignore[arg-type]
        upload = FakeUpload(room=2)
        encoded = encode(files=[("f", ("x", generator)) for generator in generators])
        await feed(upload, encoded.source)
        assert all(watched.closed.is_set() for watched in many)

    asyncio.run(main())


def test_a_source_that_fails_to_close_is_reported_to_the_loop() -> None:
    async def stubborn() -> AsyncIterator[bytes]:
        try:
            yield b"1"
            yield b"2"
        finally:
            raise ZeroDivisionError("in the clean-up")

    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        task = start(FakeUpload(room=1), encode(stubborn()).source)
        await asyncio.wait([task])
        await asyncio.sleep(0)
        del task
        gc.collect()
        assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]

    asyncio.run(main())


def test_what_closed_raises_is_not_logged_as_never_retrieved() -> None:
    async def main() -> None:
        contexts: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: contexts.append(it))
        upload = FakeUpload()
        upload.blocked = True
        task = start(upload, encode(Watched().awaited()).source)
        await upload.sent.wait()
        upload.over.set_exception(offloop.Closed("gone"))
        await asyncio.wait([task])
        del upload, task
        gc.collect()
        assert contexts == []

    asyncio.run(main())


def test_ctrl_c_in_a_source_fails_the_request_and_is_raised() -> None:
    async def main() -> None:
        upload = FakeUpload()
        with pytest.raises(SystemExit):
            await feed(upload, encode(Watched(count=1, error=SystemExit()).awaited()).source)
        assert [type(end) for end in upload.ends] == [SystemExit]

    asyncio.run(main())
