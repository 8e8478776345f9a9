"""The end of the interpreter, forks, and loops that come and go."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading

import pytest

import offloop


def in_process(code, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("atomic", [True, False])
def test_a_write_under_way_at_the_end_of_the_interpreter_is_whole(tmp_path, atomic):
    """Started and not awaited: the interpreter ends with the old content or the new one."""
    old, new = b"o" * 1_000_000, b"n" * 30_000_000
    (tmp_path / "file").write_bytes(old)
    code = """
        import asyncio, sys, offloop
        async def main():
            job = offloop.write_bytes(sys.argv[1], b"n" * 30_000_000, atomic=sys.argv[2] == "True")
            future = job.start()
            while job.state == "queued":
                await asyncio.sleep(0)
        asyncio.run(main())
    """
    in_process(code, tmp_path / "file", atomic)
    assert (tmp_path / "file").read_bytes() in (old, new)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_was_awaited_is_written_when_the_interpreter_ends_at_once(tmp_path):
    code = """
        import asyncio, os, sys, offloop
        async def main():
            await offloop.append(sys.argv[1], b"one\\n")
            async with offloop.open(sys.argv[1], "ab") as file:
                await file.write(b"two\\n")
            os._exit(0)
        asyncio.run(main())
    """
    in_process(code, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\n"


def test_files_work_in_a_handler_of_the_interpreters_exit(tmp_path):
    code = """
        import asyncio, atexit, sys, offloop
        async def main():
            try:
                await offloop.write_bytes(sys.argv[1], b"late")
            except offloop.LifecycleError:
                print("refused")
        atexit.register(lambda: asyncio.run(main()))
        asyncio.run(asyncio.sleep(0))
    """
    if in_process(code, tmp_path / "file") != "refused\n":
        assert (tmp_path / "file").read_bytes() == b"late"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_clearly_and_does_not_hang(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    code = """
        import asyncio, os, sys, warnings, offloop
        warnings.simplefilter("ignore")
        path = sys.argv[1]
        async def read():
            file = await offloop.open(path)
            return await offloop.read_bytes(path), file
        async def child(file):
            told = []
            for make in (lambda: offloop.read_bytes(path), lambda: offloop.read_text(path),
                         lambda: offloop.open(path), file.read):
                try:
                    await asyncio.wait_for(make(), 20)
                    told.append("done")
                except offloop.ForkedProcessError:
                    told.append("forked")
            print(*told, flush=True)
        _, file = asyncio.run(read())
        process = os.fork()
        if process == 0:
            try:
                asyncio.run(child(file))
            finally:
                os._exit(0)
        os.waitpid(process, 0)
        asyncio.run(asyncio.wait_for(file.close(), 20))
    """
    assert in_process(code, tmp_path / "file") == "forked forked forked forked\n"


def test_loops_of_several_threads_work_on_files_at_once(tmp_path):
    failed = []

    async def work(number):
        path = tmp_path / str(number)
        for count in range(50):
            await offloop.write_bytes(path, b"%d" % count)
            assert await offloop.read_bytes(path) == b"%d" % count
            assert await offloop.read_text(path) == str(count)

    def thread(number):
        try:
            asyncio.run(work(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(6)]
    for it in threads:
        it.start()
    for it in threads:
        it.join(100)
    assert not failed


def test_reading_on_and_on_lets_others_in(run, tmp_path):
    """What is read without a thread comes home with the next turn, not within this one."""
    (tmp_path / "file").write_bytes(b"small")
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main():
        counting = asyncio.ensure_future(count())
        for _ in range(200):
            assert await offloop.read_bytes(tmp_path / "file") == b"small"
        counting.cancel()

    run(main())
    assert turns > 150


def test_threads_for_files_are_bounded(tmp_path):
    paths = [tmp_path / str(number) for number in range(300)]

    async def main():
        for path in paths:
            path.write_bytes(b"content")
        await asyncio.gather(*(offloop.read_text(path) for path in paths))
        await asyncio.gather(*(offloop.stat(path) for path in paths))
        return sum(it.name.startswith("offloop-files") for it in threading.enumerate())

    assert 0 < asyncio.run(main()) <= 32
