"""Cancels at any moment: no handle stays open, no mixture is seen, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import sys

import pytest

import offloop

OLD = b"old" * 70_000
NEW = [bytes([number]) * 300_000 for number in range(4)]
OPERATIONS = 5_000
"""For each seed: 10,000 in all, and all of them are cancelled if they are not over by then."""


def open_files(folder):
    """Descriptors of this process that lead into a folder."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if path.startswith(str(folder)):
            found.append(path)
    return found


async def settled(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def read_lines(path):
    async for _ in offloop.read_lines(path):
        pass


async def read_opened(path):
    async with offloop.open(path, "rb") as file:
        while await file.read(10_000):
            pass


async def write_opened(path, data):
    async with offloop.open(path, "wb") as file:
        for at in range(0, len(data), 50_000):
            await file.write(data[at : at + 50_000])


async def walk(path):
    async for _ in offloop.walk(path):
        pass


async def awaited(function, *arguments):
    return await function(*arguments)


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("seed", [1, 2])
def test_cancels_at_random_leave_no_handle_and_no_mixture(tmp_path, seed):
    chance = random.Random(seed)
    (tmp_path / "source").write_bytes(OLD)
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "copy").write_bytes(OLD)
    (tmp_path / "text").write_bytes(b"a line of text\n" * 20_000)
    (tmp_path / "tree" / "folder").mkdir(parents=True)
    whole = {OLD, *NEW}

    def work():
        kind = chance.randrange(9)
        if kind == 0:
            return awaited(offloop.read_bytes, tmp_path / "source")
        if kind <= 3:
            return awaited(offloop.write_bytes, tmp_path / "target", chance.choice(NEW))
        if kind == 4:
            return awaited(offloop.copy, tmp_path / "source", tmp_path / "copy")
        if kind == 5:
            return read_lines(tmp_path / "text")
        if kind == 6:
            return read_opened(tmp_path / "source")
        if kind == 7:
            return write_opened(tmp_path / "opened", chance.choice(NEW))
        return walk(tmp_path)

    async def main():
        cancelled = 0
        for number in range(OPERATIONS // 10):
            tasks = [asyncio.ensure_future(work()) for _ in range(10)]
            for task in tasks:
                if chance.random() < 0.5:
                    await asyncio.sleep(0 if chance.random() < 0.5 else chance.random() / 2000)
                task.cancel()
            for task in tasks:
                try:
                    await task
                except asyncio.CancelledError:
                    cancelled += 1
            if number % 10 == 0:
                assert (tmp_path / "target").read_bytes() in whole
                assert (tmp_path / "copy").read_bytes() == OLD
        await settled(lambda: not open_files(tmp_path))
        names = {"source", "target", "copy", "text", "tree", "opened"}
        await settled(lambda: set(os.listdir(tmp_path)) <= names)
        assert (tmp_path / "target").read_bytes() in whole
        return cancelled

    assert asyncio.run(main()) > OPERATIONS // 5


def test_a_cancelled_listing_goes_on_where_it_was(run, tmp_path):
    for number in range(300):
        (tmp_path / f"{number:03}").mkdir()
        for name in range(20):
            (tmp_path / f"{number:03}" / str(name)).touch()

    async def main(listing, name_of):
        found, cancels = [], 0
        while True:
            task = asyncio.ensure_future(anext(listing))
            await asyncio.sleep(0)
            if len(found) % 3 == 0 and not task.done() and cancels < 50:
                task.cancel()
                cancels += 1
            try:
                found.append(name_of(await task))
            except asyncio.CancelledError:
                pass
            except StopAsyncIteration:
                return found, cancels

    names = [f"{number:03}" for number in range(300)]
    found, cancels = run(main(offloop.scandir(tmp_path), lambda entry: entry.name))
    assert cancels
    assert sorted(found) == names
    found, cancels = run(main(offloop.walk(tmp_path), lambda step: step[0]))
    assert cancels
    assert sorted(found) == [str(tmp_path), *(str(tmp_path / name) for name in names)]


def test_lines_go_on_after_a_cancel_at_any_moment(run, tmp_path):
    (tmp_path / "file").write_text("".join(f"{number:040}\n" for number in range(6_000)))

    async def main():
        lines, cancels = [], 0
        reading = offloop.read_lines(tmp_path / "file")
        while True:
            task = asyncio.ensure_future(anext(reading))
            if cancels < 60 and len(lines) % 100 == 0:
                await asyncio.sleep(0)
                if not task.done():
                    task.cancel()
                    cancels += 1
            try:
                lines.append(await task)
            except asyncio.CancelledError:
                pass
            except StopAsyncIteration:
                with pytest.raises(StopAsyncIteration):
                    await anext(reading)
                return lines, cancels

    lines, cancels = run(main())
    assert cancels
    assert lines == [f"{number:040}\n" for number in range(6_000)]
