"""Worker processes and the lives of others: main modules, exits, forks, signals, dead parents."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from process_place import exists, told, wait_until

LIMIT = 15

PRELUDE = """
import asyncio, os, sys, time
sys.path.insert(0, {folder!r})
from process_place import *
import process_jobs as jobs
import offloop

def double(value):
    return 2 * value

class Point:
    def __init__(self, x):
        self.x = x

def make_point(x):
    return Point(x)
"""


def write(tmp_path: Path, body: str) -> Path:
    script = tmp_path / "script.py"
    script.write_text(PRELUDE.format(folder=str(Path(__file__).parent)) + body)
    return script


def run_script(script: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        **options,
    )


def spawn(script: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_functions_and_classes_of_the_main_module_travel(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
if __name__ == "__main__":
    with processes() as place:
        assert call(place, double, 4) == 8
        point = call(place, make_point, 3)
        assert type(point) is Point and point.x == 3
        assert call(place, jobs.echo, Point(5)).x == 5
        assert "__mp_main__" in call(place, jobs.modules)
    print("done")
""",
    )
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_module_run_with_m_is_found_by_its_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
if __name__ == "__main__":
    with processes() as place:
        print(call(place, double, 4))
""",
    )
    done = subprocess.run(
        [sys.executable, "-m", "script"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n", "")


def test_a_script_without_a_guard_gets_a_clear_error_and_does_not_multiply(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
with open(sys.argv[1], "a") as file:
    file.write("x")
with processes() as place:
    try:
        call(place, double, 4)
    except offloop.LifecycleError as error:
        if __name__ == "__main__":
            print(error)
        raise
""",
    )
    done = run_script(script, str(tmp_path / "runs"))
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stdout
    assert (tmp_path / "runs").read_text() == "xx"


def test_a_script_without_a_guard_may_use_functions_of_other_modules(tmp_path: Path) -> None:
    script = write(tmp_path, "with processes() as place:\n    print(call(place, jobs.echo, 4))\n")
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


@pytest.mark.parametrize("way", ["-c", "-"])
def test_functions_typed_in_travel_where_cloudpickle_is_installed(way: str) -> None:
    pytest.importorskip("cloudpickle")
    source = PRELUDE.format(folder=str(Path(__file__).parent)) + (
        "with processes() as place:\n    print(call(place, double, 4))\n"
    )
    command = [sys.executable, "-c", source] if way == "-c" else [sys.executable, "-"]
    done = subprocess.run(
        command,
        input=source if way == "-" else None,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n", "")


def test_functions_typed_in_are_refused_at_once_without_cloudpickle() -> None:
    source = (
        "import sys; sys.modules['cloudpickle'] = None\n"
        + PRELUDE.format(folder=str(Path(__file__).parent))
        + """
with processes() as place:
    try:
        start(place, double, 4)
    except offloop.NotPicklable as error:
        print("cloudpickle" in str(error), place.pids())
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True []\n", "")


BUSY = """
if __name__ == "__main__":
    place = ProcessPlace(Plan("test", 2))
    idle = call(place, os.getpid)
    busy = submit(place, jobs.touch_and_sleep, sys.argv[1], 60)
    told = __import__("pathlib").Path(sys.argv[1])
    wait_until(lambda: told.exists() and told.read_text())
    other = call(place, os.getpid)
    print(other, flush=True)
    {end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError", 1),
        ("place.close()", 0),
        ("place.close(); place.kill()", 0),
    ],
)
def test_an_exit_waits_for_no_stuck_call_and_leaves_no_process(
    end: str, code: int, tmp_path: Path
) -> None:
    script = write(tmp_path, BUSY.format(end=end))
    with spawn(script, str(tmp_path / "pid")) as process:
        assert process.stdout is not None
        idle = int(process.stdout.readline())
        busy = told(tmp_path / "pid")
        started = time.monotonic()
        assert process.wait(LIMIT) == code
        assert time.monotonic() - started < 10
        wait_until(lambda: not exists(idle) and not exists(busy), 2)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = write(tmp_path, BUSY.format(end="time.sleep(60)"))
    with spawn(script, str(tmp_path / "pid")) as process:
        assert process.stdout is not None
        idle = int(process.stdout.readline())
        busy = told(tmp_path / "pid")
        assert exists(idle)
        process.kill()
        wait_until(lambda: not exists(idle) and not exists(busy), 3)


def test_workers_end_when_their_parent_is_killed_though_a_forked_child_of_it_lives(
    tmp_path: Path,
) -> None:
    script = write(
        tmp_path,
        BUSY.format(
            end="""
    child = os.fork()
    if child == 0:
        os.close(1); os.close(2)
        time.sleep(20)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""
        ),
    )
    with spawn(script, str(tmp_path / "pid")) as process:
        assert process.stdout is not None
        idle = int(process.stdout.readline())
        child = int(process.stdout.readline())
        busy = told(tmp_path / "pid")
        process.kill()
        wait_until(lambda: not exists(idle) and not exists(busy), 3)
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_gets_a_clear_error_and_its_parent_goes_on(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
if __name__ == "__main__":
    with processes() as place:
        call(place, jobs.echo, 1)
        child = os.fork()
        if child == 0:
            try:
                start(place, jobs.echo, 1)
            except offloop.ForkedProcessError:
                os._exit(5)
            os._exit(6)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        assert call(place, jobs.echo, 2) == 2
    print("done")
""",
    )
    done = run_script(script)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_ctrl_c_in_the_terminal_ends_the_parent_and_spares_running_calls(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
if __name__ == "__main__":
    with processes() as place:
        future = submit(place, jobs.touch_and_sleep, sys.argv[1], 1)
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            future.result(LIMIT)
            print("finished", flush=True)
""",
    )
    with spawn(script, str(tmp_path / "pid"), start_new_session=True) as process:
        told(tmp_path / "pid")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out, err) == (0, "finished\n", "")


def test_a_worker_ends_as_python_does_with_its_exit_handlers(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
def register(path):
    import atexit
    atexit.register(lambda: open(path, "w").write("bye"))

if __name__ == "__main__":
    place = ProcessPlace(Plan("test", 2))
    call(place, register, sys.argv[1])
""",
    )
    done = run_script(script, str(tmp_path / "bye"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "bye").read_text() == "bye"


def test_multiprocessing_works_within_a_worker(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
def fan_out(count):
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(double, range(count))

if __name__ == "__main__":
    with processes() as place:
        print(call(place, fan_out, 3))
""",
    )
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 2, 4]\n", "")


def test_a_worker_may_have_workers_of_its_own(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
def nested(depth):
    if depth == 0:
        return [os.getpid()]
    with processes(limit=1) as place:
        return [os.getpid(), *call(place, nested, depth - 1)]

if __name__ == "__main__":
    print(len(set(nested(3))))
""",
    )
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_closed_pools_leave_no_descriptors_behind(tmp_path: Path) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts descriptors in /proc")
    script = write(
        tmp_path,
        """
if __name__ == "__main__":
    def count():
        return len(os.listdir("/proc/self/fd"))
    with processes() as place:
        call(place, jobs.echo, 1)
    before = None
    for _ in range(10):
        with processes(limit=2, max_jobs_per_worker=1) as place:
            for _ in range(3):
                call(place, jobs.echo, 1)
        if before is None:
            wait_until(lambda: threading.active_count() == 1)
            before = count()
    wait_until(lambda: threading.active_count() == 1)
    print(count() - before)
""".replace("def count", "import threading\n    def count"),
    )
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
