"""Interpreters of Python 3.14 and newer; and what older Pythons say instead."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from weakref import WeakSet

import process_jobs as jobs
import pytest
import refusing
from process_place import LIMIT, call, submit, wait_until

import offloop
from offloop.pools import _interpreter_driver, interpreter
from offloop.pools._base import Place, Plan, SubmittedCall

ABSENT = importlib.util.find_spec("concurrent.interpreters") is None
needs_interpreters = pytest.mark.skipif(ABSENT, reason="needs Python 3.14")


@contextlib.contextmanager
def interpreters(kind: str = "interpreter", limit: int = 2, **options: Any) -> Iterator[Any]:
    place: Place = (
        interpreter.InterpreterPlace if kind == "interpreter" else interpreter.CpuPlace
    )(Plan("test", limit, **options))
    try:
        yield place
    finally:
        place.close()
        interpreter._refused.clear()
        interpreter._told.clear()


@pytest.mark.skipif(not ABSENT, reason="this Python has interpreters")
def test_an_older_python_says_what_to_use_instead() -> None:
    with pytest.raises(offloop.PlaceUnavailable, match="to_process"):
        interpreters().__enter__()


@needs_interpreters
def test_a_call_runs_in_an_interpreter_of_this_process() -> None:
    with interpreters() as place:
        assert call(place, os.getpid) == os.getpid()
        assert "offloop._offloop" not in call(place, jobs.modules)


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """One interpreter for many tests: starting one takes a while."""
    with interpreters(limit=1) as place:
        yield place


@needs_interpreters
@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1 << 80, 1.5, "text", b"x", b"x" * 10**6, (1, b"y" * 10**5), [1], {"a": {2}}],
)
def test_values_go_there_and_back(value: Any, shared: Any) -> None:
    back = call(shared, jobs.echo, value)
    assert back == value
    assert type(back) is type(value)
    assert call(shared, jobs.describe, value, key=value) == ((value,), {"key": value})


@needs_interpreters
@pytest.mark.parametrize(
    ("fn", "args", "kind"),
    [
        (jobs.leave, (3,), SystemExit),
        (jobs.interrupt, (), KeyboardInterrupt),
        (jobs.raise_stop_iteration, (), StopIteration),
        (jobs.recurse, (), RecursionError),
        (jobs.raise_with_notes, (), ValueError),
        (jobs.return_lock, (), offloop.NotPicklable),
        *[(jobs.raise_nasty, (name,), BaseException) for name in jobs.NASTY],
    ],
)
def test_whatever_a_call_raises_comes_back_and_the_interpreter_lives(
    fn: Any, args: Any, kind: type[BaseException], shared: Any
) -> None:
    assert isinstance(submit(shared, fn, *args).exception(LIMIT), kind)
    assert call(shared, math.sqrt, 4) == 2


@needs_interpreters
def test_an_argument_that_does_not_pickle_is_named_at_once() -> None:
    with interpreters() as place, pytest.raises(offloop.NotPicklable) as caught:
        submit(place, len, threading.Lock())
    assert caught.value.what == "argument 1"


@needs_interpreters
def test_a_module_that_refuses_is_a_typed_error_and_remembered() -> None:
    with interpreters() as place:
        assert place.refusal(refusing.double) is None
        with pytest.raises(offloop.PlaceUnavailable, match="to_process"):
            call(place, refusing.double, 2)
        assert "refusing.double" in place.refusal(refusing.double)
        with pytest.raises(offloop.PlaceUnavailable):  # at once: it does not go there again
            place.start(SubmittedCall(Future(), refusing.double, (2,), {}, print))
        assert call(place, jobs.echo, 1) == 1


@needs_interpreters
def test_a_function_that_cannot_be_sent_is_refused_and_the_interpreter_lives() -> None:
    word = "enclosed"
    with interpreters(limit=1) as place:
        assert call(place, jobs.echo, 1) == 1
        wait_until(lambda: place._idle)
        (worker,) = place._idle
        with pytest.raises(offloop.PlaceUnavailable, match="to_process"):
            call(place, lambda: word)
        assert call(place, jobs.echo, 2) == 2
        wait_until(lambda: place._idle)
        assert place._idle == [worker]


@needs_interpreters
def test_an_interpreter_that_got_half_a_call_gets_no_other() -> None:
    with interpreters(limit=1) as place:
        assert call(place, jobs.echo, 1) == 1
        wait_until(lambda: place._idle)
        (worker,) = place._idle

        def interrupted(*_: Any) -> None:
            worker._orders.put_nowait((0, None, (2,)))
            raise KeyboardInterrupt

        worker.take = interrupted
        with pytest.raises(KeyboardInterrupt):
            submit(place, jobs.echo, 3)
        assert not place._running
        assert call(place, jobs.echo, 4) == 4
        assert worker not in place._workers


@needs_interpreters
def test_an_argument_whose_module_refuses_is_no_fault_of_the_function() -> None:
    with interpreters() as place:
        with pytest.raises(offloop.PlaceUnavailable):
            call(place, jobs.echo, refusing.Held())


@needs_interpreters
def test_cpu_work_that_is_refused_goes_to_a_process_and_says_so_once() -> None:
    with interpreters("cpu") as place:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert [call(place, refusing.double, n) for n in range(4)] == [0, 2, 4, 6]
        assert [str(it.message) for it in caught if "worker process" in str(it.message)] == [
            str(caught[0].message)
        ]
        assert "refusing.double" in str(caught[0].message)
        assert call(place, os.getpid) == os.getpid()
        pids = place._processes.pids()
        assert len(pids) == 1
        place.kill()


@needs_interpreters
def test_the_initializer_runs_in_each_interpreter() -> None:
    with interpreters(limit=1, initializer=jobs.initialize, initargs=(4,)) as place:
        assert call(place, jobs.read_state) == [4]


@needs_interpreters
def test_an_initializer_that_fails_fails_the_calls() -> None:
    with interpreters(initializer=jobs.initialize_badly) as place:
        for _ in range(2):
            error = submit(place, jobs.echo, 1).exception(LIMIT)
            assert isinstance(error, offloop.OffloadError)


@needs_interpreters
def test_growing_the_limit_lets_more_run_at_once(tmp_path: Path) -> None:
    with interpreters(limit=1) as place:
        call(place, jobs.echo, 1)
        place.resize(3)
        futures = [submit(place, jobs.meet, str(tmp_path), n, 3) for n in range(3)]
        assert [it.result(LIMIT) for it in futures] == [True] * 3


@needs_interpreters
def test_a_call_stuck_at_exit_is_named_and_does_not_keep_the_process() -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from process_place import *
from offloop.pools.interpreter import InterpreterPlace
import process_jobs as jobs
place = InterpreterPlace(Plan("test", 2))
call(place, jobs.echo, 1)
submit(place, jobs.pid_after, 3600)
time.sleep(0.2)
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=15
    )
    assert (done.returncode, done.stdout) == (interpreter.STUCK, "end\n")
    assert "left process_jobs.pid_after running at exit" in done.stderr


@needs_interpreters
def test_a_function_with_a_state_is_sent_as_it_is_at_each_call(shared: Any) -> None:
    tally = jobs.Tally()
    assert [call(shared, tally.add, 5), call(shared, tally.add, 5)] == [5, 5]
    tally.add(1)
    assert call(shared, tally.add, 5) == 6
    doubled = {"factor": 2}
    function = functools.partial(jobs.scale, doubled)
    assert call(shared, function, 3) == 6
    doubled["factor"] = 5
    assert call(shared, function, 3) == 15


@needs_interpreters
def test_a_function_with_new_code_runs_its_new_code(shared: Any) -> None:
    def function(value: int) -> int:
        return value + 1

    assert call(shared, function, 1) == 2
    function.__code__ = (lambda value: value * 10).__code__
    assert call(shared, function, 1) == 10


@needs_interpreters
def test_more_functions_than_a_worker_keeps_are_not_mistaken_for_each_other(shared: Any) -> None:
    functions = [eval(f"lambda: {number}") for number in range(3 * _interpreter_driver.KNOWN)]
    expected = list(range(len(functions)))
    assert [call(shared, it) for it in functions] == expected
    assert [call(shared, it) for it in reversed(functions)] == expected[::-1]
    assert [call(shared, it) for it in functions for _ in range(2)][::2] == expected


@needs_interpreters
def test_what_a_call_sets_in_its_context_is_not_seen_by_the_next(shared: Any) -> None:
    assert [call(shared, jobs.count_in_context) for _ in range(3)] == [1, 1, 1]


@needs_interpreters
def test_a_function_that_could_not_be_rebuilt_is_sent_again() -> None:
    with interpreters(limit=1) as place:
        with pytest.raises(offloop.PlaceUnavailable):
            call(place, refusing.double, 2)
        interpreter._refused.clear()
        with pytest.raises(offloop.PlaceUnavailable, match=r"refusing\.double"):
            call(place, refusing.double, 2)
        assert call(place, jobs.echo, 1) == 1


def _spoil() -> None:
    import _offloop_worker  # type: ignore[import-not-found]

    _offloop_worker.os = None


@needs_interpreters
def test_an_interpreter_that_breaks_fails_its_call_and_is_replaced() -> None:
    with interpreters(limit=1) as place:
        with pytest.raises(offloop.OffloadError, match="the interpreter"):
            call(place, _spoil)
        assert call(place, jobs.echo, 1) == 1


def _names() -> list[str]:
    return [it.name for it in threading.enumerate() if it.name.startswith("offloop-ends")]


@needs_interpreters
def test_interpreters_and_their_threads_end_with_the_place() -> None:
    from concurrent.interpreters import list_all  # type: ignore[import-not-found]

    before = {it.id for it in list_all()}
    place = interpreter.InterpreterPlace(Plan("ends", 2))
    futures = [submit(place, jobs.echo_after, number, 0.2) for number in range(2)]
    wait_until(lambda: len(_names()) == 4)
    assert [it.result(LIMIT) for it in futures] == [0, 1]
    busy = submit(place, jobs.echo_after, 2, 0.3)
    place.close()
    assert busy.result(LIMIT) == 2
    wait_until(lambda: not _names() and {it.id for it in list_all()} <= before)


@needs_interpreters
def test_a_smaller_limit_lets_idle_interpreters_go() -> None:
    place = interpreter.InterpreterPlace(Plan("ends", 3))
    try:
        futures = [submit(place, jobs.echo_after, number, 0.2) for number in range(3)]
        assert [it.result(LIMIT) for it in futures] == [0, 1, 2]
        wait_until(lambda: len(place._idle) == 3)
        place.resize(1)
        wait_until(lambda: len(_names()) == 2)
        assert call(place, jobs.echo, 1) == 1
    finally:
        place.close()
    wait_until(lambda: not _names())


def run_there(script: str) -> subprocess.CompletedProcess[str]:
    folder = str(Path(__file__).parent)
    script = f"import sys\nsys.path.insert(0, {folder!r})\n{script}"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20
    )


@needs_interpreters
def test_closing_a_pool_with_a_stuck_call_does_not_end_the_process(tmp_path: Path) -> None:
    done = run_there(f"""
import os, time, offloop, process_jobs as jobs
from process_place import wait_until
path = {str(tmp_path / "file")!r}
pool = offloop.Pool("stuck", on="interpreter", limit=1)
future = pool.submit(jobs.wait_for_more, path)
wait_until(lambda: os.path.exists(path) and os.path.getsize(path))
assert pool.close(0.1), "it was not stuck"
time.sleep(1.5)
with open(path, "w") as file:
    file.write("more than the number of a process")
future.result()
print("alive")
""")
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


@needs_interpreters
def test_a_forked_child_gets_a_clear_error_and_takes_no_interpreter_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In this process: a real child of one with interpreters crashes, as of CPython 3.15.
    with interpreters(limit=1) as place:
        monkeypatch.setattr(interpreter, "_places", WeakSet([place]))  # the others go on
        assert call(place, jobs.echo, 1) == 1
        wait_until(lambda: place._idle)
        (worker,) = place._idle
        interpreter._after_fork_in_child()
        with pytest.raises(offloop.ForkedProcessError):
            call(place, jobs.echo, 1)
        place.close()
        worker._place = parents = interpreter.InterpreterPlace(Plan("test", 1))
        parents._workers.add(worker)
        parents._idle.append(worker)
        assert call(parents, jobs.echo, 2) == 2
        parents.close()
