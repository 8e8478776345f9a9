"""A download that is killed leaves no target, and a part that the next one goes on with."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import offloop
from servers import Server
from servers.ranges import content

WORKER = Path(__file__).with_name("crash_worker.py")
SIZE = 4_000_000
RATE = 8_000_000
KILLS = int(os.environ.get("OFFLOOP_KILLS", "12"))

pytestmark = pytest.mark.once


def start(url: str, target: Path, connections: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), url, str(target), str(connections)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def finish(url: str, target: Path, connections: int) -> offloop.Saved:
    async with asyncio.timeout(60):
        return await offloop.download(url, target, connections=connections, min_part=64 * 1024)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("connections", [1, 4])
def test_a_kill_at_any_moment_leaves_the_file_absent_or_exact(
    own_ranges: Server, tmp_path: Path, connections: int
) -> None:
    whole = content(SIZE)
    chance = random.Random(connections)
    url = f"{own_ranges.url}/honest/{SIZE}/x?rate={RATE // connections}"
    fetched = kept = kills = again = 0
    for nth in range(KILLS):
        target = tmp_path / f"file{nth}"
        part = tmp_path / f"file{nth}.part"
        process = start(url, target, connections)
        time.sleep(chance.uniform(0, 1.3 * SIZE / RATE))
        process.kill()
        process.communicate()
        # A kill may have come after the end; else nothing has the name of the whole.
        assert not target.exists() or target.read_bytes() == whole
        on_disk = disk_use(part)
        if not target.exists():
            saved = asyncio.run(finish(url, target, connections))
            assert saved.bytes == SIZE
            if on_disk > 0:
                kills += 1
                fetched += on_disk
                kept += saved.resumed_from
                again += max(0, on_disk - saved.resumed_from)
        assert target.read_bytes() == whole
        assert sorted(tmp_path.glob(f"file{nth}*")) in ([target], [target, Path(f"{part}.journal")])
    print(f"{kills} kills in mid-download: {kept} of {fetched} bytes kept, {again} fetched again")
    if fetched:
        assert kept >= 0.95 * fetched


def disk_use(part: Path) -> int:
    """Bytes of data in a file that may have holes."""
    if not part.exists():
        return 0
    total, at = 0, 0
    with part.open("rb") as file, contextlib.suppress(OSError):
        while True:
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            total += at - start
    return total
