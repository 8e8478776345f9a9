"""A watch for a whole process: `install`, ``OFFLOOP_WATCH``, and ``offloop watch``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.once
BLOCKS = """
    import asyncio, sys, time
    async def main():
        await asyncio.sleep(0.05)
        time.sleep(0.3)
        await asyncio.sleep(0.05)
    asyncio.run(main())
"""
"""Line 5 blocks."""


def python(*arguments, cwd, timeout=40, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "", **environment},
        check=False,
    )


def write(folder, name, code):
    path = folder / name
    path.write_text(textwrap.dedent(code))
    return path


def test_the_command_names_the_line_and_its_mend_and_sums_up(tmp_path):
    write(tmp_path, "app.py", BLOCKS)
    done = python("-m", "offloop", "watch", "app.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    while_it_blocks, _, summary = done.stderr.partition("\noffloop watch: ")
    assert "the event loop is blocked" in while_it_blocks
    assert "time.sleep(0.3) at app.py:5 in main" in while_it_blocks
    assert "→ await asyncio.sleep(0.3)" in while_it_blocks
    assert summary.startswith("1 stall, 0.")
    assert "app.py:5: time.sleep(0.3)" in summary


def test_the_command_speaks_before_the_block_is_over(tmp_path):
    code = BLOCKS.replace("time.sleep(0.3)", "time.sleep(60)")
    write(tmp_path, "app.py", code)
    command = [sys.executable, "-m", "offloop", "watch", "app.py"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert "app.py:5" in process.stderr.readline()
        assert process.poll() is None
        process.kill()


def test_the_command_speaks_while_native_code_holds_the_gil(tmp_path):
    code = BLOCKS.replace("time.sleep(0.3)", "__import__('re').match('(a+)+$', 'a' * 60 + 'b')")
    write(tmp_path, "app.py", code)
    command = [sys.executable, "-m", "offloop", "watch", "app.py"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        assert "app.py:5 in main (native)" in line
        process.kill()


def test_a_script_runs_as_python_would_run_it(tmp_path):
    write(tmp_path, "beside.py", "name = 'beside'\n")
    write(
        tmp_path,
        "app.py",
        """
        import sys, pickle, threading, beside
        class Thing: pass
        print(__name__, sys.argv, beside.name, __file__, pickle.loads(pickle.dumps(Thing)) is Thing)
        threading.Thread(target=lambda: print(Thing.__name__)).start()
        sys.exit(7)
        """,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plain = python("../app.py", "-x", "--threshold", "1", cwd=elsewhere)
    watched = python("-m", "offloop", "watch", "../app.py", "-x", "--threshold", "1", cwd=elsewhere)
    assert (watched.returncode, watched.stdout) == (plain.returncode, plain.stdout)
    assert watched.returncode == 7
    assert "no event loop has run" in watched.stderr


def test_a_module_runs_as_python_m_would(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    write(package, "__init__.py", "")
    write(package, "__main__.py", "import sys\nfrom . import __name__ as n\nprint(n, sys.argv)\n")
    plain = python("-m", "package", "a", cwd=tmp_path)
    watched = python("-m", "offloop", "watch", "-m", "package", "a", cwd=tmp_path)
    assert watched.stdout == plain.stdout
    assert watched.returncode == 0, watched.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit('no')", 1),
        ("1/0", 1),
        ("def f(:", 1),
        ("raise KeyboardInterrupt", 130),
        ("import os; os._exit(9)", 9),
    ],
)
def test_the_exit_code_is_that_of_the_script(tmp_path, code, expected):
    write(tmp_path, "app.py", code)
    done = python("-m", "offloop", "watch", "app.py", cwd=tmp_path)
    assert done.returncode == expected
    assert "_watch" not in done.stderr


def test_a_loop_in_a_thread_that_outlives_main_is_watched(tmp_path):
    write(
        tmp_path,
        "app.py",
        """
        import asyncio, threading, time
        async def main():
            await asyncio.sleep(0.3)
            time.sleep(0.3)
            await asyncio.sleep(0.05)
        threading.Thread(target=lambda: asyncio.run(main())).start()
        """,
    )
    done = python("-m", "offloop", "watch", "app.py", cwd=tmp_path)
    assert "app.py:5: time.sleep(0.3)" in done.stderr


def test_the_report_that_was_asked_for_is_written(tmp_path):
    write(tmp_path, "app.py", BLOCKS)
    done = python("-m", "offloop", "watch", "--report", "r.jsonl", "app.py", cwd=tmp_path)
    assert "report: r.jsonl" in done.stderr
    [stall] = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    assert (stall["line"], stall["ended"]) == (5, True)


@pytest.mark.parametrize(
    "options",
    [
        ["--threshold", "0"],
        ["--threshold", "soon"],
        ["--report", "r.doc"],
        [],
    ],
)
def test_a_wrong_command_line_is_refused(tmp_path, options):
    program = ["app.py"] if options else []
    done = python("-m", "offloop", "watch", *options, *program, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""


def test_the_environment_installs_a_watch_and_writes_its_report(tmp_path):
    code = BLOCKS.replace("import asyncio,", "import offloop, subprocess, asyncio,")
    code += "    subprocess.run([sys.executable, '-c', 'import offloop'], check=True)\n"
    write(tmp_path, "app.py", code)
    variables = {"OFFLOOP_WATCH": "50ms", "OFFLOOP_WATCH_REPORT": "r.jsonl"}
    done = python("app.py", cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert "app.py:5 in main" in done.stderr
    assert json.loads((tmp_path / "r.jsonl").read_text())["line"] == 5


@pytest.mark.parametrize("value", ["0", "off", ""])
def test_the_environment_can_say_no(tmp_path, value):
    code = BLOCKS.replace("import asyncio,", "import offloop, asyncio,")
    write(tmp_path, "app.py", code + "    print('_watch' in str([*sys.modules]))\n")
    done = python("app.py", cwd=tmp_path, OFFLOOP_WATCH=value)
    assert done.stderr == ""


def test_a_variable_that_makes_no_sense_stops_no_program(tmp_path):
    done = python("-c", "import offloop; print('ran')", cwd=tmp_path, OFFLOOP_WATCH="soon")
    assert done.stdout == "ran\n"
    assert "OFFLOOP_WATCH is ignored" in done.stderr


def test_what_install_gives_need_not_be_kept(tmp_path):
    write(
        tmp_path,
        "app.py",
        BLOCKS.replace(
            "async def main",
            "import gc, offloop\n    offloop.watch.install()\n    gc.collect()\n    async def main",
        ),
    )
    done = python("app.py", cwd=tmp_path)
    assert "app.py:8 in main" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_lives_and_ends_without_the_watch_of_its_parent(tmp_path):
    write(
        tmp_path,
        "app.py",
        """
        import asyncio, os, sys, time, offloop
        health = offloop.watch.install()
        async def main():
            await asyncio.sleep(0.05)
            time.sleep(0.3)
        asyncio.run(main())
        child = os.fork()
        if child == 0:
            asyncio.run(main())
            try:
                health.stats()
            except offloop.ForkedProcessError:
                print("child", len(health.stalls), flush=True)
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(health.stalls))
        """,
    )
    done = python("app.py", cwd=tmp_path)
    assert done.stdout.split("\n") == ["child 1", "5 1", ""], done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="needs signals")
def test_a_watched_program_can_be_terminated(tmp_path):
    write(tmp_path, "app.py", BLOCKS.replace("sleep(0.05)", "sleep(60)"))
    command = [sys.executable, "-m", "offloop", "watch", "app.py"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == -signal.SIGTERM
