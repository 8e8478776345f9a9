"""The watchdog names the line that blocks, while it blocks, and blames nobody else."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import offloop

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the system tells nothing of threads")


def line_of(text):
    """The line of this file that ends with a comment `# <text>`."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {text}"))


async def settle():
    await asyncio.sleep(0.05)


def test_a_sleeping_line_is_named_while_it_sleeps(run):
    told = []

    async def main():
        with offloop.watch(threshold=0.1, on_stall=lambda stall: told.append((stall, stall.ended))):
            await settle()
            time.sleep(0.4)  # sleeps
            await settle()

    run(main())
    [(stall, ended_when_told)] = told
    assert not ended_when_told
    assert stall.ended
    assert (stall.file, stall.line, stall.function) == (__file__, line_of("sleeps"), "main")
    assert stall.cause == "system_call"
    assert stall.system_call in {"clock_nanosleep", "nanosleep", "select", "pselect6"}
    assert stall.duration >= 0.25
    assert stall.code == "time.sleep(0.4)  # sleeps"


@LINUX
def test_a_c_call_that_holds_the_gil_is_named_before_it_returns(run):
    async def main():
        with offloop.watch(threshold=0.1) as health:
            await settle()
            began = time.time()
            re.match(r"(a+)+$", "a" * 25 + "b")  # matches
            ended = time.time()
            await settle()
        return health.stalls, began, ended

    [stall], began, ended = run(main())
    assert (stall.file, stall.line) == (__file__, line_of("matches"))
    assert stall.cause == "native"
    assert stall.named_after is not None
    assert began - 0.1 < stall.began + stall.named_after < ended


def test_a_line_that_computes_is_named(run):
    async def main():
        with offloop.watch(threshold=0.1) as health:
            await settle()
            end = time.thread_time() + 0.4
            while time.thread_time() < end:
                [str(number) for number in range(200)]  # computes
            await settle()
        return health.stalls

    [stall] = run(main())
    assert stall.file == __file__
    assert abs(stall.line - line_of("computes")) <= 1
    assert stall.cause == "python"


def test_a_loop_that_yields_is_not_blamed(run):
    async def main():
        with offloop.watch(threshold=0.1) as health:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                await asyncio.sleep(0)
        return health.stalls

    assert run(main()) == []


def test_an_idle_loop_is_not_blamed(run):
    async def main():
        with offloop.watch(threshold=0.05) as health:
            await asyncio.sleep(0.5)
        return health.stalls

    assert run(main()) == []


def test_a_thread_that_blocks_is_not_blamed(run):
    async def main():
        with offloop.watch(threshold=0.1) as health:
            await offloop.run(time.sleep, 0.4)
        return health.stalls

    assert run(main()) == []


def test_a_watch_outside_of_a_loop_watches_the_loops_that_run_inside_it(run):
    async def main():
        await settle()
        time.sleep(0.3)  # inside
        await settle()

    with offloop.watch(threshold=0.1) as health:
        run(main())
    [stall] = health.stalls
    assert stall.line == line_of("inside")


def test_what_a_watch_wrapped_is_put_back():
    before = asyncio.BaseEventLoop.run_forever
    with offloop.watch():
        assert asyncio.BaseEventLoop.run_forever is not before
    assert asyncio.BaseEventLoop.run_forever is before
    assert "__init_subclass__" not in vars(asyncio.AbstractEventLoop)


def test_loops_in_two_threads_are_watched_apart():
    async def main(name, pause):
        await settle()
        if pause:
            time.sleep(pause)
        await asyncio.sleep(0.3)

    with offloop.watch(threshold=0.1) as health:
        threads = [
            threading.Thread(target=lambda: asyncio.run(main("a", 0.3)), name="blocked-one"),
            threading.Thread(target=lambda: asyncio.run(main("b", 0)), name="free-one"),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    [stall] = health.stalls
    assert stall.thread == "blocked-one"


def test_the_task_and_its_await_chain_are_told(run):
    async def inner():
        time.sleep(0.3)

    async def outer():
        await inner()

    async def main():
        with offloop.watch(threshold=0.1) as health:
            await settle()
            await asyncio.create_task(outer(), name="the-task")
            await settle()
        return health.stalls

    [stall] = run(main())
    assert stall.task == "the-task"
    assert [step.split(" ")[0].rpartition(".")[2] for step in stall.await_chain][-2:] == [
        "outer",
        "inner",
    ]


def test_a_stall_is_one_warning_with_fields(run, caplog):
    async def main():
        with offloop.watch(threshold=0.1):
            for _ in range(3):
                await settle()
                time.sleep(0.2)  # warned of once
            await settle()

    with caplog.at_level(logging.INFO, logger="offloop.watch"):
        run(main())
    [record] = [record for record in caplog.records if record.name == "offloop.watch"]
    assert record.levelno == logging.WARNING
    assert record.stall_line == line_of("warned of once")
    assert record.stall_file == __file__
    assert record.stall_cause == "system_call"


@LINUX
def test_an_offloaded_call_that_holds_the_gil_is_named(run):
    def crunch():
        re.match(r"(a+)+$", "a" * 25 + "b")  # holds the GIL

    async def main():
        with offloop.watch(threshold=0.1) as health:
            await settle()
            job = offloop.run(crunch).start()
            while not job.done():
                await asyncio.sleep(0.01)
            await settle()
        return health.stalls

    stall = max(run(main()), key=lambda stall: stall.duration)
    assert stall.cause == "gil"
    assert stall.culprit.startswith("offloop-io-")
    if stall.culprit_job is not None:  # it may be over before Python can look
        assert stall.culprit_job.endswith("crunch")
        assert "crunch" in stall.reason
        assert "to_process" in stall.mend.code


@pytest.mark.skipif(not hasattr(asyncio, "capture_call_graph"), reason="CPython 3.14 and newer")
def test_the_await_chain_begins_with_those_who_await_the_task(run):
    async def inner():
        await settle()
        time.sleep(0.3)

    async def main():
        with offloop.watch(threshold=0.1) as health:
            await settle()
            waiting = asyncio.create_task(asyncio.wait_for(inner(), 5), name="waits")
            await asyncio.create_task(wait_for(waiting), name="outermost")
        return health.stalls

    async def wait_for(task):
        await task

    [stall] = run(main())
    assert any("outermost" in step for step in stall.await_chain), stall.await_chain


def test_watches_inside_of_each_other_see_the_same(run):
    async def main():
        with offloop.watch(threshold=0.1) as outer, offloop.watch(threshold=0.15) as inner:
            await settle()
            time.sleep(0.3)
            await settle()
        return outer.stalls, inner.stalls

    [[outer], [inner]] = run(main())
    assert (outer.line, outer.cause) == (inner.line, inner.cause)


def test_a_loop_that_closes_under_watch_is_let_go():
    with offloop.watch(threshold=0.1) as health:
        for _ in range(30):
            asyncio.run(asyncio.sleep(0.001))
    assert health._loops.attached == {}
    # One that is over before the native thread has woken is not counted.
    assert 1 <= len(health.stats().loops) <= 30
    assert len(health._loops.keys) <= 1


def test_a_child_process_is_not_signalled_and_inherits_nothing(run):
    async def main():
        with offloop.watch(threshold=0.1) as health:
            await settle()
            done = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "import os, time; time.sleep(0.4); print(os.listdir('/proc/self/fd'))",
                ],
                capture_output=True,
                text=True,
                check=True,
            )
            await settle()
        return health.stalls, done.stdout

    [stall], out = run(main())
    assert stall.cause == "system_call"
    assert len(out.split(",")) <= 5, out


def test_an_on_stall_that_fails_harms_nobody(run, caplog):
    def fails(stall):
        raise ValueError("not today")

    async def main():
        with offloop.watch(threshold=0.1, on_stall=fails) as health:
            await settle()
            time.sleep(0.25)
            await asyncio.sleep(0.05)
            time.sleep(0.25)
            await settle()
        return health.stalls

    assert len(run(main())) == 2
    assert "on_stall failed" in caplog.text


def test_a_block_that_the_watch_ends_in_is_found(run):
    async def main():
        await settle()
        with offloop.watch(threshold=0.1) as health:
            time.sleep(0.3)
        return health.stalls

    [stall] = run(main())
    assert stall.ended


def test_a_threshold_has_to_be_positive():
    for threshold in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="threshold"), offloop.watch(threshold=threshold):
            pass


def in_process(code, *, timeout=30, **environment):
    """Run a program of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )


@LINUX
def test_a_signal_in_use_is_refused():
    done = in_process("""
        import signal, offloop
        signal.signal(signal.SIGUSR2, lambda *_: None)
        for wanted in (signal.SIGUSR2, "SIGUSR2", "SIGKILL", "SIGNOSUCH", 10_000):
            try:
                with offloop.watch(signal=wanted):
                    print("taken")
            except ValueError as error:
                print(type(error).__name__)
    """)
    assert done.stderr == ""
    assert done.stdout.split() == ["SignalInUseError"] * 2 + ["ValueError"] * 3


@LINUX
@pytest.mark.parametrize("wanted", ["none", "SIGUSR1", "SIGRTMIN+9"])
def test_the_line_is_named_whatever_the_signal(wanted):
    code = """
        import asyncio, time, offloop
        async def main():
            with offloop.watch(threshold=0.1) as health:
                await asyncio.sleep(0.05)
                time.sleep(0.3)
                await asyncio.sleep(0.05)
            print(health.stalls[0].line, health.stalls[0].cause, len(health.stalls))
        asyncio.run(main())
    """
    done = in_process(code, OFFLOOP_WATCH_SIGNAL=wanted)
    assert done.stdout.split() == ["6", "system_call", "1"], done.stderr


@LINUX
def test_a_stopped_process_is_not_blamed():
    code = """
        import asyncio, offloop, sys
        async def main():
            with offloop.watch(threshold=0.1) as health:
                print("ready", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
            print([stall.cause for stall in health.stalls], flush=True)
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        out, _ = process.communicate("go\n", timeout=20)
    assert out == "[]\n"


def test_a_program_that_blocks_for_ever_ends_by_ctrl_c_and_leaves_no_thread_behind():
    code = """
        import asyncio, time, offloop
        async def main():
            with offloop.watch(threshold=0.1):
                await asyncio.sleep(0.05)
                print("ready", flush=True)
                time.sleep(60)
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(2):  # asyncio takes the first as a request to cancel
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert process.returncode == -signal.SIGINT
