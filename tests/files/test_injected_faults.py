"""What the system refuses at every k-th call: the error reaches whoever awaits, nothing is lost.

Calls through libc are made to fail by a library that is loaded before it (`faults.c`); those that
core makes by itself, on paths that are known, by strace. Full disks are real ones. Each time all
operations are run over and over by a process of their own, `fault_worker.py`; it checks the laws.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import offloop

HERE = Path(__file__).parent
WORKER = str(HERE / "fault_worker.py")

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="Linux's faults"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("library") / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", path, HERE / "faults.c", "-ldl"]
    subprocess.run(command, check=True)
    return path


def worker(folder, number, rounds=3, prefix=(), **environment):
    command = [*prefix, sys.executable, WORKER, str(folder), str(number), str(rounds)]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


CASES = [
    ("write", "EIO", 1),
    ("write", "ENOSPC", 2),
    ("write", "EDQUOT", 7),
    ("read", "EIO", 1),
    ("read", "EIO", 3),
    ("fsync", "EIO", 2),
    ("rename", "EIO", 1),
    ("ftruncate", "EIO", 1),
    ("copy_file_range", "EIO", 1),
    ("close", "EIO", 1),
    *((call, "EINTR", 2) for call in ("write", "read", "fsync", "copy_file_range")),
    *((call, "short", 1) for call in ("write", "read", "copy_file_range")),
]


@pytest.mark.parametrize(("call", "fault", "every"), CASES)
def test_a_call_of_libc_that_fails_is_told_or_made_again(tmp_path, library, call, fault, every):
    number = 0 if fault == "short" else getattr(errno, fault)
    told = worker(
        tmp_path,
        number,
        LD_PRELOAD=str(library),
        FAULT_CALL=call,
        FAULT_KIND=str(number),
        FAULT_EVERY=str(every),
        FAULT_FOLDER=str(tmp_path),
    )
    assert told["made"] > 0
    refused = sum(end.get("refused", 0) for end in told["ends"].values())
    assert bool(refused) == (fault not in {"EINTR", "short"})


def can_trace():
    if shutil.which("strace") is None:
        return False
    return not subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode


@pytest.mark.skipif(not can_trace(), reason="needs strace")
@pytest.mark.parametrize("every", [3])
@pytest.mark.parametrize("fault", ["EIO", "EINTR"])
@pytest.mark.parametrize("call", ["read", "openat", "getdents64", "unlinkat"])
def test_a_call_of_cores_own_that_fails_is_told_or_made_again(tmp_path, call, fault, every):
    paths = ("source", "text", "target", "tree", "tree/a", "tree/b", "tree/c")
    prefix = ["strace", "-f", "-qq", "-o", "/dev/null"]
    for path in paths:
        prefix += ["-P", str(tmp_path / path)]
    prefix += ["-e", f"inject={call}:error={fault}:when={every}+{every}"]
    told = worker(tmp_path, getattr(errno, fault), 2, prefix)
    refused = sum(end.get("refused", 0) for end in told["ends"].values())
    assert fault == "EINTR" or refused


@contextlib.contextmanager
def small_disk(tmp_path):
    """1 MiB, mounted where that is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


DATA = os.urandom(3_000_000)


async def write_to_the_limit(place, number):
    """What does not fit is refused with the path, and what is atomic leaves what was there."""
    path = place / "file"
    path.write_bytes(b"old")
    for work in (
        lambda: offloop.write_bytes(path, DATA),
        lambda: offloop.write_text(path, "x" * 3_000_000),
    ):
        with pytest.raises(OSError) as caught:
            await work()
        assert (caught.value.errno, caught.value.filename) == (number, str(path))
        assert path.read_bytes() == b"old"
        assert os.listdir(place) == ["file"]
    source = place.parent / "source"
    with source.open("wb") as file:
        file.truncate(3_000_000)
        file.write(DATA[:10])
    with pytest.raises(OSError) as caught:
        await offloop.copy(source, path)
    assert (caught.value.errno, caught.value.filename) == (number, str(source))
    assert caught.value.filename2 == str(path)
    assert path.read_bytes() == b"old"
    for work in (
        lambda: offloop.append(path, DATA),
        lambda: offloop.write_bytes(path, DATA, atomic=False),
    ):
        with pytest.raises(OSError) as caught:
            await work()
        assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert DATA.startswith(path.read_bytes())
    with pytest.raises(OSError) as caught:
        async with offloop.open(path, "wb") as file:
            for _ in range(3000):
                await file.write(b"x" * 1000)
    assert caught.value.errno == number
    assert set(path.read_bytes()) <= {ord("x")}


def test_a_full_disk_is_told_and_leaves_what_was_there(run, tmp_path):
    with small_disk(tmp_path) as place:
        run(write_to_the_limit(place, errno.ENOSPC))


def test_a_limit_on_the_size_of_files_is_told_and_leaves_what_was_there(tmp_path):
    place = tmp_path / "limited"
    place.mkdir()
    source = tmp_path / "source"
    source.touch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, before[1]))
    try:

        async def main():
            path = place / "file"
            path.write_bytes(b"old")
            with pytest.raises(OSError) as caught:
                await offloop.write_bytes(path, DATA + DATA)
            assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
            assert path.read_bytes() == b"old"
            assert os.listdir(place) == ["file"]
            with pytest.raises(OSError) as caught:
                await offloop.write_bytes(path, DATA + DATA, atomic=False)
            assert caught.value.errno == errno.EFBIG
            assert path.read_bytes() == (DATA + DATA)[:4_000_000]

        asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("append", [False, True])
def test_the_device_that_is_always_full_is_told(run, append):
    async def main():
        with pytest.raises(OSError) as caught:
            if append:
                await offloop.append("/dev/full", b"x")
            else:
                await offloop.write_bytes("/dev/full", b"x")
        return caught.value.errno, caught.value.filename

    assert run(main()) == (errno.ENOSPC, "/dev/full")
