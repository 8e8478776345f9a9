"""`offloop.open` beyond what a file of `io` shows of itself: cancels, threads, errors, ends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import sys
import threading

import pytest

import offloop
from offloop import aiofiles

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's devices")


def numbered(count, bad_at=None):
    lines = [b"line %06d\n" % number for number in range(count)]
    if bad_at is not None:
        lines[bad_at] = b"line \xff\xfe\n"
    return b"".join(lines)


@pytest.mark.parametrize("bad_at", [0, 1, 700, 1500, 2999])
def test_text_that_cannot_be_decoded_is_an_error_where_io_has_it(run, tmp_path, bad_at):
    """What had been read ahead by then is handed out, and nothing behind it is passed over."""
    (tmp_path / "file").write_bytes(numbered(3000, bad_at))
    expected = []
    with open(tmp_path / "file", encoding="utf-8") as file, pytest.raises(UnicodeDecodeError):
        while line := file.readline():
            expected.append(line)
    got = []

    async def main():
        async with offloop.open(tmp_path / "file", encoding="utf-8") as file:
            with pytest.raises(UnicodeDecodeError):
                async for line in file:
                    got.append(line)
            await file.seek(0)
            again = []
            with pytest.raises(UnicodeDecodeError):
                while line := await file.readline():
                    again.append(line)
            return again

    assert run(main()) == expected
    assert got == expected


def test_a_small_read_gives_what_stands_before_a_byte_that_cannot_be_decoded(run, tmp_path):
    (tmp_path / "file").write_bytes(numbered(3000, 1500))

    async def main():
        async with offloop.open(tmp_path / "file", encoding="utf-8") as file:
            return [await file.read(12) for _ in range(1000)]

    assert run(main()) == [f"line {number:06}\n" for number in range(1000)]


def test_a_closed_file_says_so_every_time(run, tmp_path):
    (tmp_path / "file").write_text("one\ntwo\n")

    async def main(mode):
        file = await offloop.open(tmp_path / "file", mode)
        assert await file.readline()
        await file.close()
        for _ in range(3):
            for call in (file.readline, file.read, file.readlines, file.tell, file.flush):
                with pytest.raises(ValueError, match="closed"):
                    await call()
        await file.close()
        assert file.closed

    for mode in ("r", "rb", "r+b"):
        run(main(mode))


@linux
@pytest.mark.parametrize("mode", ["w", "wb"])
def test_an_error_of_closing_is_raised(run, mode):
    """The bytes are in the buffer until then; the device has no room for them."""
    data = "x" if mode == "w" else b"x"

    async def closed():
        file = await offloop.open("/dev/full", mode)
        await file.write(data)
        with pytest.raises(OSError) as caught:
            await file.close()
        return caught.value.errno, file.closed

    async def left():
        with pytest.raises(OSError) as caught:
            async with offloop.open("/dev/full", mode) as file:
                await file.write(data)
        return caught.value.errno, file.closed

    assert run(closed()) == (errno.ENOSPC, True)
    assert run(left()) == (errno.ENOSPC, True)


@linux
def test_an_error_of_writing_is_raised_by_the_write_that_meets_it(run):
    async def main():
        async with offloop.open("/dev/full", "wb", 0) as raw:
            with pytest.raises(OSError) as caught:
                await raw.write(b"x")
            assert caught.value.errno == errno.ENOSPC
        file = await offloop.open("/dev/full", "wb")
        with pytest.raises(OSError):
            for _ in range(10_000):
                await file.write(b"x" * 100)
        with pytest.raises(OSError):
            await file.close()

    run(main())


@pytest.mark.parametrize("path", ["none", "none/none", "file/none", ".", ""])
@pytest.mark.parametrize("mode", ["r", "wb", "r+", "xb"])
def test_opening_fails_as_with_open(run, tmp_path, path, mode):
    (tmp_path / "file").write_text("")
    path = str(tmp_path / path) if path else path

    async def main():
        async with offloop.open(path, mode):
            pass

    try:
        open(path, mode).close()
        os.unlink(path)
    except OSError as error:
        expected = error
    else:
        run(main())
        return
    with pytest.raises(type(expected)) as caught:
        run(main())
    got = caught.value
    assert (got.errno, got.strerror, got.filename) == (
        expected.errno,
        expected.strerror,
        expected.filename,
    )


@pytest.mark.parametrize("options", [{"mode": "q"}, {"mode": "rb", "encoding": "utf-8"}])
def test_wrong_options_fail_as_with_open(run, tmp_path, options):
    async def main():
        await offloop.open(tmp_path / "file", **options)

    with pytest.raises(ValueError):
        run(main())


def test_a_forgotten_file_warns_as_one_of_io_and_what_it_held_is_written(run, tmp_path):
    async def main():
        held = [await offloop.open(tmp_path / "file", "wb")]
        await held[0].write(b"content")
        await asyncio.sleep(0)  # out of the turn that has brought the write home
        with pytest.warns(ResourceWarning, match="unclosed file"):
            held.clear()

    run(main())
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_cancelled_write_is_over_when_the_await_is(run, tmp_path):
    """Nothing is written behind the back of somebody who was told that it is cancelled."""

    async def main():
        async with offloop.open(tmp_path / "file", "wb", 0) as file:
            for number in range(30):
                task = asyncio.ensure_future(file.write(b"x" * 1_000_000))
                await asyncio.sleep(0 if number % 2 else 0.0003)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                size = os.stat(tmp_path / "file").st_size
                assert size % 1_000_000 == 0
                assert await file.tell() == size

    run(main())


@pytest.mark.once
@pytest.mark.parametrize("mode", ["r", "rb"])
def test_what_a_cancelled_read_has_read_is_there_for_the_next(run, tmp_path, mode):
    # Long lines, for some are read ahead at once, and only reading can be cancelled.
    content = b"".join(b"%06d %s\n" % (number, b"x" * 1000) for number in range(2_000))
    (tmp_path / "file").write_bytes(content)

    async def main():
        lines, cancels = [], 0
        async with offloop.open(tmp_path / "file", mode) as file:
            while True:
                task = asyncio.ensure_future(file.readline())
                if len(lines) % 5 != 1:
                    # Before a thread has begun, and some turns later.
                    for _ in range(1 + cancels % 4):
                        await asyncio.sleep(0)
                    if task.cancel():
                        cancels += 1
                    try:
                        line = await task
                    except asyncio.CancelledError:
                        continue_from = len(lines)
                        line = await file.readline()
                        assert continue_from == len(lines)
                else:
                    line = await task
                if not line:
                    return lines, cancels
                lines.append(line)

    lines, cancels = run(main())
    assert cancels > 1
    joined = "".join(lines).encode() if mode == "r" else b"".join(lines)
    # A line may be lost only to the one whose await was cancelled after it had been taken.
    assert joined == content


def test_a_cancelled_read_of_a_pipe_ends_at_once_and_loses_nothing(run):
    async def main():
        reader, writer = os.pipe()
        async with offloop.open(reader, "rb") as file:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await file.readline()
            os.write(writer, b"one\ntwo\n")
            os.close(writer)
            return [line async for line in file]

    assert run(main()) == [b"one\n", b"two\n"]


def test_a_limited_line_of_a_pipe_waits_for_no_more_than_it_asks_for(run):
    async def main(mode):
        reader, writer = os.pipe()
        async with offloop.open(reader, mode) as file:
            os.write(writer, b"no newline")
            async with asyncio.timeout(30):
                got = [await file.readline(2), await file.readline(4)]
            os.close(writer)
            return [*got, await file.readline()]

    assert run(main("rb")) == [b"no", b" new", b"line"]


@pytest.mark.skipif(not hasattr(os, "set_blocking"), reason="needs a pipe that does not block")
def test_a_file_that_does_not_block_gives_none_as_in_io(run):
    async def main():
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        async with offloop.open(reader, "rb", 0) as file:
            assert await file.read(10) is None
            os.write(writer, b"x")
            assert await file.read(10) == b"x"
            os.close(writer)
            assert await file.read(10) == b""

    run(main())


def test_the_answers_to_questions_are_awaited_where_aiofiles_has_them_awaited(run, tmp_path):
    async def main():
        async with aiofiles.open(tmp_path / "file", "w") as file:
            assert await file.readable() is False
            assert await file.writable() is True
        async with aiofiles.open(tmp_path / "file", "rb") as file:
            assert file.readable() is True

    run(main())


def test_an_executor_is_used_where_it_is_given(run, tmp_path):
    (tmp_path / "file").write_text("one\ntwo\n")
    names = set()

    def opener(path, flags):
        names.add(threading.current_thread().name)
        return os.open(path, flags)

    async def main(executor):
        async with aiofiles.open(tmp_path / "file", opener=opener, executor=executor) as file:
            assert [line async for line in file] == ["one\n", "two\n"]
        assert (await aiofiles.os.stat(tmp_path / "file", executor=executor)).st_size == 8

    with concurrent.futures.ThreadPoolExecutor(1, "mine") as executor:
        run(main(executor))
    assert names == {"mine_0"}


@pytest.mark.once
def test_calls_of_several_tasks_come_one_after_the_other(run, tmp_path):
    async def main():
        async with offloop.open(tmp_path / "file", "w") as file:
            await asyncio.gather(*(file.write(f"line {number:04}\n") for number in range(500)))
        async with offloop.open(tmp_path / "file") as file:
            return await asyncio.gather(*(file.readline() for _ in range(500)))

    assert run(main()) == [f"line {number:04}\n" for number in range(500)]


def test_a_file_serves_the_loops_of_several_threads(tmp_path):
    (tmp_path / "file").write_bytes(numbered(4000))
    file = asyncio.run(opened(tmp_path / "file"))
    lines, failed = [], []

    async def read():
        while line := await file.readline():
            lines.append(line)

    def work():
        try:
            asyncio.run(read())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    asyncio.run(closed(file))
    assert not failed
    assert b"".join(sorted(lines)) == numbered(4000)


async def opened(path):
    return await offloop.open(path, "rb")


async def closed(file):
    await file.close()


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_hangs_on_pipes_takes_no_thread_from_offloaded_calls(tmp_path):
    """As many opens as any pool has threads wait for a writer; calls, and other files, go on."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"content")

    async def main():
        hanging = [asyncio.ensure_future(offloop.open(tmp_path / "pipe", "rb")) for _ in range(60)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            assert await offloop.run(sum, [1, 2]) == 3
            # Whole files have threads of their own, too.
            assert await offloop.read_bytes(tmp_path / "file") == b"content"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        # Those that wait in `open` for a writer are let go, and close what they get.
        for _ in range(1000):
            with contextlib.suppress(OSError):  # nobody reads it any more
                os.close(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))
            async with asyncio.timeout(30):
                names = [
                    os.path.realpath(f"/proc/self/fd/{it}") for it in os.listdir("/proc/self/fd")
                ]
            if str(tmp_path / "pipe") not in names and await offloop.read_text(tmp_path / "file"):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("a pipe is still open")

    asyncio.run(main())
