"""Worker threads give way: Linux wakes them without stopping the thread that hands them a call."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import offloop
from conftest import Run

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the policy is Linux's"),
    pytest.mark.once,
]

LIMIT = 30
"""Seconds after which a child of a test hangs."""


def policy() -> int:
    return os.sched_getscheduler(0)


def test_workers_give_way_and_the_loop_does_not(run: Run[Any]) -> None:
    async def main() -> None:
        assert await offloop.run(policy) == os.SCHED_BATCH
        assert policy() == os.SCHED_OTHER
        async with offloop.Pool("own") as pool:
            assert await pool.run(policy) == os.SCHED_BATCH

    run(main())


def test_a_child_forked_by_a_call_does_not_give_way(run: Run[Any]) -> None:
    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(policy())
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    async def main() -> None:
        assert await offloop.run(fork) == os.SCHED_OTHER

    run(main())


@pytest.mark.parametrize(
    ("before", "environment", "expected"),
    [
        ("", {"OFFLOOP_SCHED_POLICY": "keep"}, os.SCHED_OTHER if sys.platform == "linux" else 0),
        ("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))", {}, 5),
    ],
    ids=["keep", "another policy"],
)
def test_what_is_set_otherwise_stays(
    before: str, environment: dict[str, str], expected: int
) -> None:
    code = f"""
        import asyncio, os, offloop
        {before}
        async def main():
            print(await offloop.run(os.sched_getscheduler, 0))
        asyncio.run(main())
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    )
    assert int(told.stdout) == expected
