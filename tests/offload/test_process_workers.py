"""Worker processes: what travels, who dies, and who does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import process_jobs as jobs
import pytest
from process_place import LIMIT, call, exists, processes, start, submit, told, wait_until

import offloop

BIG = 64 * 1024 * 1024


def test_a_call_runs_in_another_process_with_its_arguments() -> None:
    with processes() as place:
        assert call(place, os.getpid) != os.getpid()
        assert call(place, jobs.describe, 1, x=2) == ((1,), {"x": 2})


def test_an_idle_worker_is_used_again_and_no_second_one_started() -> None:
    with processes(limit=4) as place:
        assert len({call(place, os.getpid) for _ in range(20)}) == 1


def test_large_bytes_go_both_ways_whole() -> None:
    with processes(limit=1) as place:
        data = os.urandom(1024) * (BIG // 1024)
        assert call(place, jobs.echo, data) == data


@pytest.mark.parametrize("size", [0, 1, 32 * 1024 - 64, 32 * 1024, 64 * 1024 - 1, 64 * 1024, 10**6])
@pytest.mark.parametrize("kind", [bytes, bytearray, str, tuple, list])
def test_every_size_arrives_as_what_it_was(size: int, kind: Any) -> None:
    piece = "x" * size if kind is str else bytes(range(256)) * (size // 256) + bytes(size % 256)
    value = kind([piece, 1]) if kind in (tuple, list) else kind(piece)
    with processes(limit=1) as place:
        back = call(place, jobs.echo, value)
        assert back == value
        assert type(back) is kind


def test_a_buffer_changed_after_the_call_was_made_arrives_as_it_was() -> None:
    import pickle

    class Holder:
        def __init__(self, data: bytearray) -> None:
            self.data = data

        def __reduce_ex__(self, protocol: int) -> Any:
            return bytes, (pickle.PickleBuffer(self.data),)

    data = bytearray(b"a" * 10_000_000)
    with processes(limit=1) as place:
        future = submit(place, jobs.echo, Holder(data))
        data[:] = b"b" * len(data)
        assert future.result(LIMIT) == b"a" * len(data)


def test_a_worker_has_the_key_to_the_managers_of_its_parent() -> None:
    import multiprocessing

    with multiprocessing.get_context("spawn").Manager() as manager, processes(limit=1) as place:
        # Before the worker has imported multiprocessing, and after.
        for _ in range(2):
            event = manager.Event()
            call(place, jobs.set_event, event)
            assert event.is_set()
        key = bytes(multiprocessing.current_process().authkey)
        assert call(place, jobs.authkey) == key


def test_a_worker_that_needs_no_multiprocessing_does_not_import_it() -> None:
    with processes(limit=1) as place:
        assert not call(place, jobs.is_imported, "multiprocessing")


@pytest.mark.parametrize("reason", ["timeout", "close"])
def test_a_worker_is_killed_alone(reason: Any, tmp_path: Path) -> None:
    with processes(limit=3) as place:
        files = [tmp_path / str(number) for number in range(3)]
        started = [start(place, jobs.wait_for_more, str(file)) for file in files]
        pids = [told(file) for file in files]
        place.cancel(started[1][0], reason)
        with pytest.raises(offloop.WorkerDied):
            started[1][1].result(LIMIT)
        for file in files:
            file.write_text("more than a number")
        assert [started[nth][1].result(LIMIT) for nth in (0, 2)] == [pids[0], pids[2]]


def test_what_a_call_prints_does_not_disturb_its_channel() -> None:
    script = """
import sys
sys.path.insert(0, "tests/offload")
from process_place import *
import process_jobs as jobs
with processes() as place:
    assert call(place, jobs.print_much, 1 << 20) == 1 << 20
    assert call(place, jobs.echo, 5) == 5
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(done.stdout) == sorted(b"x" * (1 << 20) + b"y" * (1 << 20))
    assert done.stderr == b"z" * (1 << 20)


def test_exceptions_bring_notes_cause_and_the_remote_traceback() -> None:
    with processes() as place:
        with pytest.raises(ValueError, match="outer") as caught:
            call(place, jobs.raise_with_notes)
    assert caught.value.__notes__[0] == "a note of the user's"
    assert "process:" in caught.value.__notes__[1]
    text = str(caught.value.__cause__)
    assert "in raise_with_notes" in text
    assert "KeyError: 'inner'" in text
    assert "_worker.py" not in text


@pytest.mark.parametrize(
    ("fn", "args", "kind"),
    [
        (jobs.leave, (3,), SystemExit),
        (jobs.interrupt, (), KeyboardInterrupt),
        (jobs.raise_stop_iteration, (), StopIteration),
        (jobs.recurse, (), RecursionError),
    ],
)
def test_whatever_a_call_raises_comes_back_and_the_worker_lives(
    fn: Any, args: Any, kind: type[BaseException]
) -> None:
    with processes() as place:
        pid = call(place, os.getpid)
        error = submit(place, fn, *args).exception(LIMIT)
        assert type(error) is kind
        assert call(place, os.getpid) == pid


@pytest.mark.parametrize("name", list(jobs.NASTY))
def test_a_nasty_exception_is_itself_or_not_picklable_and_harms_nobody(name: str) -> None:
    with processes() as place:
        pid = call(place, os.getpid)
        error = submit(place, jobs.raise_nasty, name).exception(LIMIT)
        # By name: cloudpickle rebuilds the class as well, where nothing else helps.
        assert type(error).__name__ in (type(jobs.NASTY[name]()).__name__, "NotPicklable")
        returned = submit(place, jobs.return_nasty, name)
        assert returned.exception(LIMIT) is None or isinstance(
            returned.exception(), offloop.NotPicklable
        )
        assert call(place, os.getpid) == pid


def test_an_exception_that_cannot_be_rebuilt_is_told_of_with_its_traceback() -> None:
    with processes() as place:
        with pytest.raises(offloop.NotPicklable, match=r"TwoArguments: ab") as caught:
            call(place, jobs.raise_nasty, "two arguments")
    assert caught.value.what == "the exception"
    assert "in raise_nasty" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("args", "kwargs", "what", "type_name"),
    [
        ((threading.Lock(),), {}, "argument 1", "_thread.lock"),
        ((1,), {"key": threading.Lock()}, "argument 'key'", "_thread.lock"),
        (({"a": [0, threading.Lock()]},), {}, "argument 1['a'][1]", "_thread.lock"),
        ((jobs.Local(x=jobs.Local(y=threading.Lock())),), {}, "argument 1.x.y", "_thread.lock"),
    ],
)
def test_an_argument_that_does_not_pickle_is_named_at_once(
    args: Any, kwargs: Any, what: str, type_name: str
) -> None:
    with processes() as place:
        with pytest.raises(offloop.NotPicklable) as caught:
            start(place, jobs.describe, *args, **kwargs)
        assert (caught.value.what, caught.value.type_name) == (what, type_name)
        assert what in str(caught.value)
        assert place.pids() == []


def test_a_result_that_does_not_pickle_is_named() -> None:
    with processes() as place:
        with pytest.raises(offloop.NotPicklable) as caught:
            call(place, jobs.return_lock)
        assert caught.value.what == "the result['lock'][0]"
        assert caught.value.type_name == "_thread.lock"


def test_lambdas_and_local_functions_travel_where_cloudpickle_is_installed() -> None:
    pytest.importorskip("cloudpickle")
    offset = 5
    with processes() as place:
        assert call(place, lambda x: x + offset, 2) == 7


def test_a_dead_worker_fails_its_own_call_alone_and_is_replaced() -> None:
    with processes(limit=3) as place:
        others = [submit(place, jobs.pid_after, 0.5) for _ in range(2)]
        with pytest.raises(offloop.WorkerDied) as caught:
            call(place, jobs.die)
        assert caught.value.signal == signal.SIGKILL
        assert caught.value.exit_code is None
        assert caught.value.pid not in (None, *(it.result(LIMIT) for it in others))
        assert call(place, jobs.echo, 1) == 1


@pytest.mark.once
def test_twenty_workers_killed_at_random_moments_lose_only_their_own_calls() -> None:
    import random

    lost = done = 0
    with processes(limit=4) as place:
        for _ in range(20):
            futures = [submit(place, jobs.pid_after, 0.03) for _ in range(4)]
            wait_until(lambda: len(place.pids()) == 4)
            time.sleep(random.random() * 0.03)
            victim = random.choice(place.pids())
            os.kill(victim, signal.SIGKILL)
            for future in futures:
                error = future.exception(LIMIT)
                if error is None:
                    done += 1
                    continue
                assert isinstance(error, offloop.WorkerDied)
                assert error.pid == victim
                lost += 1
    assert lost <= 20
    assert done >= 60


def test_an_exit_in_a_worker_is_told_with_its_code() -> None:
    with processes() as place:
        with pytest.raises(offloop.WorkerDied) as caught:
            call(place, os._exit, 7)
        assert (caught.value.exit_code, caught.value.signal) == (7, None)


def test_a_worker_that_died_idle_costs_no_call() -> None:
    with processes(limit=1) as place:
        for _ in range(20):
            pid = call(place, os.getpid)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not exists(pid))
            assert call(place, jobs.echo, 1) == 1


def test_a_worker_that_died_before_it_read_its_call_costs_no_call() -> None:
    with processes(limit=1) as place:
        for size in (1, 1_000_000):
            pid = call(place, os.getpid)
            os.kill(pid, signal.SIGSTOP)
            future = submit(place, len, b"x" * size)
            os.kill(pid, signal.SIGKILL)
            assert future.result(LIMIT) == size


@pytest.mark.parametrize("job", [jobs.close_everything, jobs.scribble])
def test_a_call_that_ruins_its_channel_fails_alone(job: Any) -> None:
    with processes() as place:
        with pytest.raises(offloop.WorkerDied):
            call(place, job)
        assert call(place, jobs.echo, 1) == 1


def test_killing_ends_one_call_and_no_other(tmp_path: Path) -> None:
    with processes(limit=2) as place:
        victim, future = start(place, jobs.touch_and_sleep, str(tmp_path / "pid"), 60)
        other = submit(place, jobs.pid_after, 0.5)
        pid = told(tmp_path / "pid")
        place.cancel(victim, "timeout")
        with pytest.raises(offloop.WorkerDied) as caught:
            future.result(LIMIT)
        assert (caught.value.pid, caught.value.signal) == (pid, signal.SIGTERM)
        assert other.result(LIMIT) != pid


def test_a_call_that_ignores_sigterm_gets_sigkill(tmp_path: Path) -> None:
    with processes() as place:
        victim, future = start(place, jobs.stubborn, str(tmp_path / "pid"))
        told(tmp_path / "pid")
        place.cancel(victim, "timeout")
        with pytest.raises(offloop.WorkerDied) as caught:
            future.result(LIMIT)
        assert caught.value.signal == signal.SIGKILL


def test_cancelling_lets_a_call_run_that_is_not_to_be_killed() -> None:
    with processes() as place:
        made, future = start(place, jobs.pid_after, 0.1)
        place.cancel(made, "cancel")
        assert future.result(LIMIT) > 0


def test_workers_are_replaced_after_so_many_jobs_without_a_pause() -> None:
    with processes(limit=2, max_jobs_per_worker=3) as place:
        pids = [call(place, os.getpid) for _ in range(12)]
        assert len(set(pids)) == 4
        assert all(pids.count(pid) == 3 for pid in pids)


@pytest.mark.once
def test_recycling_after_every_job_does_not_deadlock() -> None:
    with processes(limit=2, max_jobs_per_worker=1) as place:
        assert len({call(place, os.getpid) for _ in range(100)}) == 100


def test_a_worker_without_work_ends() -> None:
    with processes(idle=0.05) as place:
        pid = call(place, os.getpid)
        wait_until(lambda: not exists(pid))
        assert place.pids() == []
        assert call(place, jobs.echo, 2) == 2


def test_a_call_longer_than_the_idle_time_is_left_alone() -> None:
    with processes(idle=0.05) as place:
        assert call(place, jobs.pid_after, 0.3) > 0
        data = b"x" * 5_000_000
        assert call(place, jobs.echo, data) == data


def test_memory_beyond_the_limit_is_a_memory_error_and_the_worker_lives() -> None:
    with processes(limit=1, max_memory_bytes=512 * 1024 * 1024) as place:
        pid = call(place, os.getpid)
        with pytest.raises(MemoryError):
            call(place, jobs.allocate, 1 << 30)
        assert call(place, os.getpid) == pid


def test_an_argument_too_large_for_the_workers_memory_is_its_own_failure() -> None:
    with processes(limit=1, max_memory_bytes=256 * 1024 * 1024) as place:
        error = submit(place, len, bytes(300 * 1024 * 1024)).exception(LIMIT)
        assert isinstance(error, (MemoryError, offloop.WorkerDied))
        assert call(place, jobs.echo, 1) == 1


def test_the_initializer_runs_once_in_each_worker() -> None:
    with processes(limit=1, initializer=jobs.initialize, initargs=(4,)) as place:
        assert call(place, jobs.read_state) == [4]
        assert call(place, jobs.read_state) == [4]


def test_an_initializer_that_fails_fails_the_call_and_says_why() -> None:
    with processes(initializer=jobs.initialize_badly) as place:
        for _ in range(2):
            with pytest.raises(offloop.OffloadError, match="no database") as caught:
                call(place, jobs.echo, 1)
            assert "in initialize_badly" in str(caught.value.__cause__)


def test_a_worker_imports_neither_the_extension_nor_the_main_module() -> None:
    with processes() as place:
        names = call(place, jobs.modules)
    assert "offloop._offloop" not in names
    assert "pytest" not in names
    assert "multiprocessing" not in names


def test_ctrl_c_does_not_reach_workers_but_their_children() -> None:
    with processes() as place:
        assert call(place, jobs.signal_names) == (True, False)


def test_a_forked_child_of_a_worker_cannot_answer_in_its_place() -> None:
    with processes() as place:
        for _ in range(5):
            assert call(place, jobs.fork_and_return) > 0
            assert call(place, jobs.echo, "mine") == "mine"


def test_a_grandchild_does_not_hide_the_death_of_a_worker(tmp_path: Path) -> None:
    with processes() as place:
        started = time.monotonic()
        with pytest.raises(offloop.WorkerDied):
            call(place, jobs.fork_grandchild_and_die, str(tmp_path / "pid"))
        assert time.monotonic() - started < 5
        os.kill(told(tmp_path / "pid"), signal.SIGKILL)


def test_options_are_checked() -> None:
    wrong: list[dict[str, Any]] = [{"idle": 0}, {"idle": "x"}, {"max_jobs_per_worker": 1.5}]
    for options in (*wrong, {"max_memory_bytes": 1 << 70}):
        with pytest.raises(ValueError, match=next(iter(options))):
            processes(**options).__enter__()
    with pytest.raises(TypeError, match="no option 'what'"):
        processes(what=1).__enter__()
    with pytest.raises(offloop.NotPicklable):
        processes(initializer=threading.Lock()).__enter__()


def test_a_refused_process_is_a_typed_error_and_the_rest_goes_on() -> None:
    script = """
import os, resource, sys, subprocess
sys.path.insert(0, "tests/offload")
from process_place import *
import process_jobs as jobs, offloop
real = subprocess.Popen
class Refuse:
    def __call__(self, *args, **kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")
with processes(limit=3) as place:
    subprocess.Popen = Refuse()
    error = submit(place, jobs.echo, 1).exception(LIMIT)
    assert isinstance(error, offloop.ResourceExhausted), error
    assert error.errno == 11
    subprocess.Popen = real
    first = submit(place, jobs.pid_after, 0.3)
    wait_until(lambda: place.pids())
    subprocess.Popen = Refuse()
    others = [submit(place, os.getpid) for _ in range(2)]
    pid = first.result(LIMIT)
    assert [it.result(LIMIT) for it in others] == [pid, pid]
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
