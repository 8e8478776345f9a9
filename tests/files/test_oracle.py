"""Asynchronous files behave as those of `io`: what one says and leaves behind, the other does, too.

Hypothesis makes up files, ways to open them and calls; each call is made on a file of `io` and on
one of `offloop.open`, over files of their own. Compared are results, errors, positions and, at the
end, what stands in the files. Errors are compared by class: their texts differ within `io`, too.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import offloop

# The words of `io` for what is refused differ between Pythons; they are compared with those of one.
pytestmark = pytest.mark.once

ENCODINGS = ["utf-8", "utf-16", "utf-8-sig", "latin-1", "ascii", "shift_jis"]
ERRORS = ["strict", "replace", "ignore", "surrogateescape"]
NEWLINES = [None, "", "\n", "\r", "\r\n"]

# Long pieces cross the chunks that are read at once, short ones their edges.
pieces = st.tuples(
    st.text(st.sampled_from("ab\n\ré漢🎉"), min_size=1, max_size=12),
    st.sampled_from([1, 2, 700, 5000]),
).map(lambda it: it[0] * it[1])
texts = st.lists(pieces, max_size=4).map("".join)
blobs = texts.map(lambda text: text.encode("utf-8"))
sizes = st.sampled_from([None, -1, 0, 1, 2, 7, 100, 4096, 8191, 8192, 8193, 20_000])
places = st.integers(0, 30_000) | st.integers(0, 20)


class Failed:
    """An error, comparable by its class and number."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Failed)
            and type(other.error) is type(self.error)
            and getattr(other.error, "errno", None) == getattr(self.error, "errno", None)
        )

    def __hash__(self) -> int:
        return hash(type(self.error))

    def __repr__(self) -> str:
        return f"Failed({self.error!r})"


class Both(RuleBasedStateMachine):
    """A file of `io`, and the same one of offloop's."""

    text: bool
    marks: list[tuple[Any, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.theirs: Any = None
        self.ours: Any = None
        self.marks = []
        self.may_write = True
        self.is_dirty = False

    def open_both(self, content: bytes, mode: str, **options: Any) -> None:
        self.text = "b" not in mode
        self.mode = mode
        self.reads = "r" in mode or "+" in mode
        self.raw = options.get("buffering") == 0
        paths = [os.path.join(self.folder.name, name) for name in ("theirs", "ours")]
        for path in paths:
            with open(path, "wb") as file:
                file.write(content)
        self.theirs = open(paths[0], mode, **options)

        async def open_ours() -> Any:
            return await offloop.open(paths[1], mode, **options)

        self.ours = self.runner.run(open_ours())

    @initialize(data=st.data())
    def begin(self, data: Any) -> None:
        def draw(choices: list[Any]) -> Any:
            return data.draw(st.sampled_from(choices))

        if draw([True, False]):
            mode = draw(["rb", "wb", "ab", "r+b", "w+b", "a+b"])
            self.open_both(data.draw(blobs), mode, buffering=draw([-1, 0, 16, 100, 9000]))
            return
        encoding = draw(ENCODINGS)
        content = data.draw(texts).encode(encoding, "ignore")
        if draw([True, False]):
            middle = len(content) // 2
            content = content[:middle] + b"\xff" + content[middle:]
        options = {
            "errors": draw(ERRORS),
            "newline": draw(NEWLINES),
            "buffering": draw([-1, 1, 100]),
        }
        self.open_both(content, draw(["r", "w", "a", "r+", "w+"]), encoding=encoding, **options)

    def call(self, name: str, *args: Any) -> tuple[Any, Any]:
        """Call a method of both; gives both results, errors among them."""

        async def ours() -> Any:
            return await getattr(self.ours, name)(*args)

        try:
            expected = getattr(self.theirs, name)(*args)
        except Exception as error:
            expected = Failed(error)
        try:
            got = self.runner.run(ours())
        except Exception as error:
            got = Failed(error)
        if self.text and isinstance(expected, Failed) and isinstance(expected.error, UnicodeError):
            # What `io` has read up to the error is lost to it; offloop still has it.
            assert isinstance(got, Failed)
            assert isinstance(got.error, UnicodeError)
            self.start_again()
        return expected, got

    def same(self, name: str, *args: Any) -> Any:
        expected, got = self.call(name, *args)
        assert got == expected, (name, args)
        return got

    def start_again(self) -> None:
        self.theirs.seek(0)

        async def ours() -> None:
            await self.ours.seek(0)

        self.runner.run(ours())

    def will_read(self) -> None:
        # `io.BufferedRandom.read1`, which text is read by, may pass over what is not written yet.
        if self.is_dirty:
            self.same("flush")
            self.is_dirty = False
        # Where a write lands that follows a read of text is `io`'s secret; it asks for a seek.
        self.may_write = not self.text

    @rule(size=sizes)
    def read(self, size: int | None) -> None:
        self.will_read()
        self.same("read", size)

    @rule(size=sizes)
    def readline(self, size: int | None) -> None:
        self.will_read()
        self.same("readline", -1 if size is None else size)

    @rule(size=sizes)
    def readlines(self, size: int | None) -> None:
        self.will_read()
        self.same("readlines", -1 if size is None else size)

    @rule(count=st.sampled_from([1, 2, 50]))
    def iterate(self, count: int) -> None:
        self.will_read()

        async def ours() -> list[Any]:
            lines = []
            async for line in self.ours:
                lines.append(line)
                if len(lines) == count:
                    break
            return lines

        expected: Any = []
        try:
            # Not by `next`, which forbids `tell`.
            while len(expected) < count and (line := self.theirs.readline()):
                expected.append(line)
        except Exception as error:
            expected = Failed(error)
        try:
            got: Any = self.runner.run(ours())
        except Exception as error:
            got = Failed(error)
        assert got == expected
        if isinstance(expected, Failed) and isinstance(expected.error, UnicodeError):
            self.start_again()

    @precondition(lambda self: self.may_write)
    @rule(data=texts)
    def write(self, data: str) -> None:
        self.is_dirty = True
        self.same("write", data if self.text else data.encode())

    @precondition(lambda self: self.may_write)
    @rule(data=texts)
    def write_lines(self, data: str) -> None:
        self.is_dirty = True
        lines = data.splitlines(keepends=True)
        self.same("writelines", lines if self.text else [line.encode() for line in lines])

    @precondition(lambda self: self.may_write)
    @rule()
    def write_of_the_wrong_type(self) -> None:
        self.same("write", b"bytes" if self.text else "text")

    @precondition(lambda self: not self.text)
    @rule(place=places, whence=st.sampled_from([0, 1, 2]), back=st.booleans())
    def seek(self, place: int, whence: int, back: bool) -> None:
        self.same("seek", -place if back else place, whence)

    @precondition(lambda self: self.text)
    @rule(end=st.booleans())
    def seek_to_an_end(self, end: bool) -> None:
        self.may_write = True
        expected, got = self.call("seek", 0, 2 if end else 0)
        assert isinstance(expected, Failed) == isinstance(got, Failed)

    @rule()
    def tell(self) -> None:
        expected, got = self.call("tell")
        if not self.text:
            assert got == expected
        elif isinstance(expected, Failed) or isinstance(got, Failed):
            assert got == expected
        else:
            # A cookie of text is nobody's but the file's that gave it.
            self.marks.append((expected, got))

    @precondition(lambda self: self.text and self.marks)
    @rule(number=st.integers(0, 5))
    def seek_to_a_mark(self, number: int) -> None:
        self.may_write = True
        theirs, ours = self.marks[number % len(self.marks)]
        try:
            self.theirs.seek(theirs)
        except Exception as error:
            expected: Any = Failed(error)
        else:
            expected = None

        async def go() -> None:
            await self.ours.seek(ours)

        try:
            got = self.runner.run(go())
        except Exception as error:
            got = Failed(error)
        assert got == expected

    @precondition(lambda self: not self.text)
    @rule(size=st.none() | places)
    def truncate(self, size: int | None) -> None:
        self.marks.clear()
        self.same("truncate", size)

    @rule()
    def flush(self) -> None:
        self.same("flush")

    @precondition(lambda self: not self.text)
    @rule(size=st.integers(0, 20_000))
    def readinto(self, size: int) -> None:
        theirs, ours = bytearray(size), bytearray(size)
        try:
            expected: Any = self.theirs.readinto(theirs)
        except Exception as error:
            expected = Failed(error)

        async def read() -> Any:
            return await self.ours.readinto(ours)

        try:
            got = self.runner.run(read())
        except Exception as error:
            got = Failed(error)
        assert got == expected
        assert ours == theirs

    @precondition(lambda self: not self.text and not self.raw and self.reads)
    @rule(size=st.sampled_from([-1, 1, 100, 10_000]), peek=st.booleans())
    def read_what_is_there(self, size: int, peek: bool) -> None:
        self.will_read()
        # How much is there is not promised: one has to begin as the other does.
        expected, got = self.call("peek", 1) if peek else self.call("read1", size)
        if isinstance(expected, Failed) or isinstance(got, Failed):
            assert got == expected
            return
        assert bool(got) == bool(expected)
        common = min(len(got), len(expected))
        assert got[:common] == expected[:common]
        if not peek and len(got) != len(expected):
            self.theirs.seek(common - len(expected), 1)

            async def go() -> None:
                await self.ours.seek(common - len(got), 1)

            self.runner.run(go())

    @rule(name=st.sampled_from(["seekable", "writable", "isatty"]))
    def ask(self, name: str) -> None:
        self.same(name)

    @rule()
    def close(self) -> None:
        self.same("close")

    @invariant()
    def agree_on_what_they_are(self) -> None:
        if self.theirs is None:
            return
        # Not `newlines`, in which what has been read ahead counts.
        for name in ("closed", "mode", *(("encoding", "errors") if self.text else ())):
            assert getattr(self.ours, name) == getattr(self.theirs, name)

    def teardown(self) -> None:
        try:
            if self.theirs is not None:
                self.same("close")
                contents = []
                for name in ("theirs", "ours"):
                    with open(os.path.join(self.folder.name, name), "rb") as file:
                        contents.append(file.read())
                assert contents[0] == contents[1]
        finally:
            self.runner.close()
            self.folder.cleanup()


TestFilesAreThoseOfIo = Both.TestCase
TestFilesAreThoseOfIo.settings = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
