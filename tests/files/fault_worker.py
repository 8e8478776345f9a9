"""All operations on files while the system refuses now and then: see `test_faults`.

usage: fault_worker.py FOLDER ERRNO ROUNDS      ERRNO: the one that is injected, 0 for none

Each operation has to end in time, either done, and then exactly, or with that error; and what is
atomic has to leave what was there. EINTR is no error: the call is made again. Prints how often each
operation was done and refused.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import errno
import json
import os
import sys
from pathlib import Path

import offloop

FOLDER = Path(sys.argv[1])
ERRNO = int(sys.argv[2])
ROUNDS = int(sys.argv[3])
SMALL = bytes(range(256)) * 20
LARGE = os.urandom(600_000)
TEXT = "".join(f"line {number:05}\n" for number in range(20_000))
SOURCE, TARGET, TREE = FOLDER / "source", FOLDER / "target", FOLDER / "tree"
OLD = b"old content"
library = ctypes.CDLL(None) if "LD_PRELOAD" in os.environ else None


def switch(value):
    """Begin or end the faults; those of strace are on all the time, on its paths."""
    if library:
        library.fault_on(value)


def again(function):
    """Call a function of the worker's own until no fault gets in its way."""
    for _ in range(1000):
        with contextlib.suppress(OSError):
            return function()
    raise RuntimeError("the faults do not end")


def content():
    switch(0)
    return again(TARGET.read_bytes)


async def read_bytes():
    assert await offloop.read_bytes(SOURCE) == LARGE


async def read_text():
    assert await offloop.read_text(FOLDER / "text") == TEXT


async def lines():
    got = []
    try:
        async for line in offloop.read_lines(FOLDER / "text"):
            got.append(line)
    finally:
        assert TEXT.startswith("".join(got)), "a line is missing"
    assert "".join(got) == TEXT


async def tail():
    assert await offloop.tail(FOLDER / "text", 2) == ["line 19998\n", "line 19999\n"]


async def hash_file():
    import hashlib

    assert await offloop.hash_file(SOURCE) == hashlib.sha256(LARGE).hexdigest()


async def write_atomic():
    try:
        assert await offloop.write_bytes(TARGET, LARGE, durable=True) == len(LARGE)
    except OSError:
        # The new content stands if it was the folder that was not flushed.
        assert content() in (OLD, LARGE), "a mixture"
        raise
    assert content() == LARGE


async def write_plain():
    assert await offloop.write_bytes(TARGET, LARGE, atomic=False, durable=True) == len(LARGE)
    assert content() == LARGE


async def write_text():
    try:
        assert await offloop.write_text(TARGET, TEXT) == len(TEXT)
    except OSError:
        assert content() == OLD, "a mixture"
        raise
    assert content() == TEXT.encode()


async def append():
    await offloop.append(TARGET, SMALL, durable=True)
    assert content() == OLD + SMALL


async def copy():
    try:
        await offloop.copy(SOURCE, TARGET)
    except OSError:
        assert content() == OLD, "a mixture"
        raise
    assert content() == LARGE


async def remove_tree():
    await offloop.remove_tree(TREE)
    assert not TREE.exists()


async def walk():
    errors = []
    found = {path async for path, _, _ in offloop.walk(TREE, on_error=errors.append)}
    for error in errors:
        assert error.filename is not None
        raise error
    assert found == {str(TREE), *(str(TREE / name) for name in "abc")}


async def scandir():
    assert {entry.name async for entry in offloop.scandir(TREE)} == {"a", "b", "c"}


async def opened_to_read():
    async with offloop.open(SOURCE, "rb") as file:
        got = [await file.read(1000) for _ in range(len(LARGE) // 1000)]
    assert b"".join(got) == LARGE


async def opened_to_write():
    async with offloop.open(TARGET, "wb") as file:
        for at in range(0, len(LARGE), 500):
            await file.write(LARGE[at : at + 500])
    assert content() == LARGE


async def opened_as_text():
    async with offloop.open(TARGET, "w") as file:
        for line in TEXT.splitlines(keepends=True):
            await file.write(line)
    assert content() == TEXT.encode()


async def opened_raw():
    async with offloop.open(TARGET, "wb", 0) as file:
        at = 0
        while at < len(LARGE):
            at += await file.write(LARGE[at:])
    assert content() == LARGE


WHOLE = [
    read_bytes,
    hash_file,
    write_atomic,
    write_plain,
    write_text,
    append,
    copy,
    remove_tree,
    walk,
    scandir,
]
"""Operations of core's, whose errors name a path."""
TASKS = [
    *WHOLE,
    read_text,
    lines,
    tail,
    opened_to_read,
    opened_to_write,
    opened_as_text,
    opened_raw,
]


def prepare():
    for name, what in (("source", LARGE), ("text", TEXT.encode()), ("target", OLD)):
        again(lambda name=name, what=what: (FOLDER / name).write_bytes(what))
    for name in "abc":
        again(lambda name=name: (TREE / name).mkdir(parents=True, exist_ok=True))
        again(lambda name=name: (TREE / name / "file").write_bytes(b""))


async def main():
    ends = collections.defaultdict(collections.Counter)
    for number in range(ROUNDS):
        for task in TASKS:
            switch(0)
            prepare()
            before = len(os.listdir("/proc/self/fd"))
            switch(1)
            try:
                async with asyncio.timeout(60):
                    await task()
            except OSError as error:
                switch(0)
                nameless = task in WHOLE and error.filename is None
                if error.errno != ERRNO or errno.EINTR == ERRNO or nameless:
                    raise RuntimeError(f"{task.__name__}, round {number}") from error
                ends[task.__name__]["refused"] += 1
            else:
                switch(0)
                ends[task.__name__]["done"] += 1
            left = set(os.listdir(FOLDER)) - {"source", "text", "target", "tree"}
            assert not left, (task.__name__, left)
            await asyncio.sleep(0)
            del task
            assert len(os.listdir("/proc/self/fd")) <= before + 1
    made = library.faults_made() if library else None
    print(json.dumps({"made": made, "ends": ends}))


asyncio.run(main())
