"""Streamed bodies are pushed to their end, and their sources closed."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop import _content
from offloop._content import encode, feed, start
from offloop._sources import HOP_BYTES


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
