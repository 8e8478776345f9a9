"""Calls in threads that compute in Python: the one-time hint, and what is done for the loop."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import pytest

import offloop
from conftest import Run
from offloop.pools import _hogs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="clocks of threads are Linux's")


def burn(seconds: float) -> None:
    """Compute in Python for so many seconds of this thread's CPU."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for _ in range(1000):
            pass


def undeclared(seconds: float) -> None:
    burn(seconds)


class Thing:
    def method(self, seconds: float) -> None:
        burn(seconds)


def strict(seconds: float) -> None:
    burn(seconds)


def burn_until(seen: threading.Event) -> None:
    """Compute in Python until the loop has seen it, however late the loop gets to it."""
    while not seen.is_set():
        burn(0.01)


async def hints(*calls: Any) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call in calls:
            await offloop.run(*call)
    return [it for it in caught if "under the GIL" in str(it.message)]


def test_an_undeclared_hog_is_named_once_with_its_line_and_the_word_to_change() -> None:
    (hint,) = asyncio.run(hints((undeclared, 1.0), (undeclared, 1.0)))
    assert hint.category is RuntimeWarning
    assert (hint.filename, hint.lineno) == (__file__, undeclared.__code__.co_firstlineno)
    text = str(hint.message)
    assert text.startswith("undeclared computed for ")
    assert "offloop.to_" in text
    assert 'kind="cpu"' in text


def test_a_method_behind_a_partial_is_found() -> None:
    (hint,) = asyncio.run(hints((functools.partial(Thing().method, 1.0),)))
    assert hint.lineno == Thing.method.__code__.co_firstlineno


@pytest.mark.parametrize("side_by_side", [1, 6])
def test_native_code_without_the_gil_is_not_blamed(side_by_side: int) -> None:
    def native() -> None:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 600_000)

    async def main() -> list[Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await asyncio.gather(*(offloop.run(native) for _ in range(side_by_side)))
        return list(caught)

    assert asyncio.run(main()) == []


def test_a_call_that_only_waits_and_a_short_one_are_not_blamed() -> None:
    assert asyncio.run(hints((time.sleep, 0.2), *[(burn, 0.002)] * 60)) == []


def test_a_declared_function_is_not_blamed() -> None:
    @offloop.offloaded(kind="io")
    def declared(seconds: float) -> None:
        burn(seconds)

    assert asyncio.run(hints((declared, 0.3))) == []


def test_functions_of_offloop_itself_are_not_for_the_user_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def own(seconds: float) -> None:
        burn(seconds)

    monkeypatch.setattr(own, "__module__", "offloop.watch")
    assert asyncio.run(hints((own, 0.3))) == []


def test_where_warnings_are_errors_the_call_goes_well_and_the_hint_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "offloop"):
        assert asyncio.run(offloop.run(strict, 1.0)) is None  # type: ignore[func-returns-value]
    assert "strict computed for" in caplog.text


def test_threads_take_turns_more_often_while_hogs_run_and_as_usual_after(run: Run[Any]) -> None:
    usual = sys.getswitchinterval()

    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = threading.Event()
            jobs = [offloop.run(burn_until, seen).start() for _ in range(3)]
            try:
                async with asyncio.timeout(30):
                    while sys.getswitchinterval() > 0.0006:
                        await asyncio.sleep(0.01)
            finally:
                seen.set()
            await asyncio.gather(*jobs)
        assert sys.getswitchinterval() == usual

    run(main())
    assert sys.getswitchinterval() == usual


def test_an_interval_that_somebody_else_sets_meanwhile_stays() -> None:
    usual = sys.getswitchinterval()

    async def main() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = threading.Event()
            job = offloop.run(burn_until, seen).start()
            try:
                async with asyncio.timeout(30):
                    while sys.getswitchinterval() == usual:
                        await asyncio.sleep(0.01)
                sys.setswitchinterval(0.0008)  # below ours, so ours is not set again
            finally:
                seen.set()
            await job
        assert sys.getswitchinterval() == pytest.approx(0.0008)

    try:
        asyncio.run(main())
    finally:
        sys.setswitchinterval(usual)


def test_looks_are_rare_while_the_same_calls_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hogs, "_steady", (0, frozenset()))
    monkeypatch.setattr(_hogs, "_quiet", 0)
    calls = {(1, 1)}
    pauses = [_hogs._pause(calls, True, False) for _ in range(_hogs.STEADY_AFTER + 2)]
    assert (pauses[0], pauses[-1]) == (_hogs.PERIOD, _hogs.STEADY_PERIOD)
    assert _hogs._pause(calls | {(2, 1)}, True, False) == _hogs.PERIOD


def test_a_new_call_is_looked_at_soon_although_the_next_look_is_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def far(seen: set[tuple[int, int]], *_: bool) -> float:
        looks.append(len(seen))
        return 60.0

    async def main() -> None:
        seen = threading.Event()
        jobs = []
        try:
            for number in (1, 2):
                jobs.append(offloop.run(burn_until, seen).start())
                async with asyncio.timeout(20):
                    while len(looks) < number:
                        await asyncio.sleep(0.01)
        finally:
            seen.set()
        await asyncio.gather(*jobs)

    monkeypatch.setattr(_hogs, "_pause", far)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(main())


@pytest.mark.once
def test_the_interval_can_be_kept() -> None:
    code = """if True:
        import asyncio, sys, offloop
        sys.path.insert(0, "tests/offload")
        from test_hogs import burn

        async def main():
            job = offloop.run(burn, 0.4).start()
            least = 1
            while not job.done():
                least = min(least, sys.getswitchinterval())
                await asyncio.sleep(0.01)
            print(least)

        asyncio.run(main())
    """
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code.replace("tests/offload", sys.path[0])],
        env={"OFFLOOP_SWITCH_INTERVAL": "keep", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.stdout.strip(), ended.stderr) == ("0.005", "")
