"""The pytest plugin fails tests that block the event loop, and no others.

Each test runs pytest in a process of its own on a suite of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

pytest_plugins = ["pytester"]

NAP = 0.35
"""Seconds of a block; the limit in these runs is 0.1 s, so that a busy machine changes nothing."""
LIMIT = "--offloop-fail-on-block=100ms"
HEAD = f"""
import asyncio, re, sys, threading, time, unittest
import pytest

NAP = {NAP}

async def block():
    time.sleep(NAP)

async def fine():
    await asyncio.sleep(NAP)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester):
    """Runs pytest on the given source; gives its result."""

    def run(source, *args, ini="", **files):
        name = files.pop("name", "test_suite")
        pytester.makepyfile(**{name: HEAD + source, **files})
        if ini is not None:
            pytester.makeini("[pytest]\n" + ini)
        args = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *args)
        return pytester.runpytest_subprocess(*args, timeout=90)

    return run


def outcomes(result):
    return {name: n for name, n in result.parseoutcomes().items() if name != "warnings"}


BLOCKING = """
def test_blocks():
    async def main():
        await asyncio.sleep(0.01)
        await block()
    asyncio.run(main())

def test_blocks_at_once():
    asyncio.run(block())

def test_fine():
    asyncio.run(fine())

def test_blocks_in_no_loop():
    time.sleep(NAP)

def test_blocks_in_a_thread():
    asyncio.run(asyncio.to_thread(time.sleep, NAP))

def test_fails_of_itself():
    asyncio.run(block())
    assert 1 == 2
"""


def test_a_test_that_blocks_fails_with_line_cause_mend_and_stack(suite):
    result = suite(BLOCKING, LIMIT)
    assert outcomes(result) == {"failed": 3, "passed": 3}
    text = result.stdout.str()
    head = HEAD.lstrip()
    line = head.count("\n", 0, head.index("time.sleep(NAP)")) + 1
    result.stdout.fnmatch_lines(
        [
            "the event loop was blocked for 0.* s (limit 0.1 s): time.sleep(NAP) at test_suite*",
            "  cause: blocking system call *",
            "  mend:  await asyncio.sleep(NAP)",
            "  key:   test_suite.py:block:system_call",
            "The stack while it was blocked (most recent call last):",
            '  File "*test_suite.py", line *, in main',
            "    await block()",
            f'  File "*test_suite.py", line {line}, in block',
            "    time.sleep(NAP)",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            "*= offloop: what blocked the event loop =*",
            "test_suite.py:* in block: 0.* s",
            "    mend:  await asyncio.sleep(NAP)",
            "    test:  test_suite.py::test_blocks, *test_fails_of_itself (3 times)",
            "3 blocks of more than 0.1 s",
        ]
    )
    result.stdout.fnmatch_lines(["*assert 1 == 2", "*- offloop: the event loop was blocked -*"])
    assert "_pytest/" not in text.partition("The stack while")[2].partition("____")[0]


def test_without_the_option_nothing_fails_and_nothing_is_imported(suite):
    result = suite(
        """
def test_it():
    asyncio.run(block())
    found = {name for name in sys.modules if name.startswith("offloop")}
    assert found <= {"offloop", "offloop.testing", "offloop.testing.pytest_plugin"}, found
"""
    )
    assert outcomes(result) == {"passed": 1}
    assert "blocked" not in result.stdout.str()


def test_watch_reports_and_fails_nothing(suite):
    # A busy machine may leave the watch without a processor for longer than a short block.
    source = BLOCKING.replace("assert 1 == 2", "pass")
    result = suite("NAP = 1.2\n" + source, "--offloop-watch=100ms")
    assert outcomes(result) == {"passed": 6}
    result.stdout.fnmatch_lines(["*what blocked the event loop*", "3 blocks of more than 0.1 s"])


def test_what_is_not_the_tests_doing_fails_nothing(suite):
    result = suite(
        """
import re

@pytest.fixture
def sync_fixture():
    asyncio.run(block())
    yield
    asyncio.run(block())

def test_with_a_fixture(sync_fixture):
    asyncio.run(fine())

def test_that_imports():
    async def main():
        import slow_module
    asyncio.run(main())

class TestCases(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        time.sleep(NAP)

    async def asyncTearDown(self):
        time.sleep(NAP)

    async def test_fine(self):
        self.addAsyncCleanup(block)

def test_that_loads_once():
    from loader import load
    async def main():
        load()
    asyncio.run(main())

class Slow:
    def __repr__(self):
        time.sleep(NAP)
        return "slow"

def test_whose_assertion_is_explained_for_long():
    async def main():
        assert Slow() == 1
    with pytest.raises(AssertionError):
        asyncio.run(main())
""",
        LIMIT,
        "-vv",
        ini="offloop_warm_up = loader.load",
        slow_module=f"import time; time.sleep({NAP})",
        loader=f"import time\ndef load(): time.sleep({NAP})",
    )
    assert outcomes(result) == {"passed": 5}
    text = result.stdout.str()
    assert "excluded:" in text
    assert "an import" in text
    assert "a load at first use" in text
    assert "the test runner" in text
    assert "0 blocks of more than 0.1 s" in text


def test_a_loop_that_a_fixture_started_is_watched_during_the_call_alone(suite):
    result = suite(
        """
@pytest.fixture
def background():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(block(), loop).result()
    yield loop
    asyncio.run_coroutine_threadsafe(block(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()

def test_blocks_it(background):
    asyncio.run_coroutine_threadsafe(block(), background).result()

def test_uses_it(background):
    asyncio.run_coroutine_threadsafe(fine(), background).result()
""",
        LIMIT,
    )
    assert outcomes(result) == {"failed": 1, "passed": 1}
    result.stdout.fnmatch_lines(["FAILED test_suite.py::test_blocks_it*"])


def test_the_marker_allows_blocks(suite):
    result = suite(
        """
@pytest.mark.blocking_ok(reason="a known one")
def test_any():
    asyncio.run(block())

@pytest.mark.blocking_ok("positional", max=20)
def test_below_its_maximum():
    asyncio.run(block())

@pytest.mark.blocking_ok(max="150ms")
def test_above_its_maximum():
    asyncio.run(block())
""",
        LIMIT,
        "-v",
        "--strict-markers",
    )
    assert outcomes(result) == {"failed": 1, "passed": 2}
    result.stdout.fnmatch_lines(["*(limit 0.15 s)*"])
    result.stdout.fnmatch_lines(["allowed by blocking_ok:", "*; a known one"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("max='soon'", "*'soon' is no limit*"),
        ("max=-1", "*-1 is no number of seconds*"),
        ("most=1", "*blocking_ok takes reason and max*"),
    ],
)
def test_a_marker_that_makes_no_sense_ends_the_run(suite, marker, message):
    result = suite(f"@pytest.mark.blocking_ok({marker})\ndef test_it(): pass\n", LIMIT)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--offloop-fail-on-block=50"], "*'50' is no limit*50ms*"),
        (["--offloop-fail-on-block=fast"], "*'fast' is no limit*"),
        (["--offloop-watch=-1ms"], "*'-1ms' is no limit*"),
        (["--offloop-fail-on-block=0ms"], "*out of range*"),
        (["--offloop-baseline=x.json"], "*needs --offloop-fail-on-block*"),
        (["--offloop-write-baseline"], "*needs a file*"),
        ([LIMIT, "--offloop-baseline=none.json"], "*none.json cannot be read*"),
        ([LIMIT, "--offloop-baseline=test_suite.py"], "*test_suite.py is no baseline*"),
    ],
)
def test_bad_input_is_a_usage_error(suite, args, message):
    result = suite("def test_it(): pass\n", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_path_after_the_bare_option_is_a_path(suite, pytester):
    pytester.makepyfile(test_other="def test_other(): pass")
    result = suite("def test_it():\n    asyncio.run(block())\n", LIMIT[:-6], "test_other.py")
    assert outcomes(result) == {"passed": 1}
    result = suite("", LIMIT[:-6], "test_suite.py", name="test_empty")
    assert outcomes(result) == {"failed": 1}


def test_the_ini_file_switches_it_on_and_the_command_line_off(suite):
    source = "def test_it():\n    asyncio.run(block())\n"
    ini = "offloop_fail_on_block = 0.1s"
    assert outcomes(suite(source, ini=ini)) == {"failed": 1}
    assert outcomes(suite(source, "--offloop-fail-on-block=off", ini=ini)) == {"passed": 1}
    assert outcomes(suite(source, "--offloop-watch", ini=ini)) == {"passed": 1}
    assert outcomes(suite(source, "--offloop-fail-on-block=5s", ini=ini)) == {"passed": 1}


def test_a_baseline_lets_an_old_project_begin_today(suite, pytester):
    old = "def test_old():\n    asyncio.run(block())\n"
    ini = "offloop_baseline = known.json\n"
    result = suite(old, "--offloop-write-baseline", LIMIT, ini=ini)
    assert outcomes(result) == {"passed": 1}
    result.stdout.fnmatch_lines(["wrote *known.json: 1 blocks"])
    written = (pytester.path / "known.json").read_text()
    assert json.loads(written) == {
        "version": 1,
        "blocks": {
            "test_suite.py:block:system_call": {
                "code": "time.sleep(NAP)",
                "mend": "await asyncio.sleep(NAP)",
            }
        },
    }
    # Lines move, and a new block comes.
    new = """
async def another():
    time.sleep(NAP)

def test_new():
    asyncio.run(another())

"""
    result = suite(new + old, LIMIT, "-v", ini=ini)
    assert outcomes(result) == {"failed": 1, "passed": 1}
    result.stdout.fnmatch_lines(
        ["in the baseline:", "1 block of more than 0.1 s, 1 in the baseline"]
    )
    result.stdout.fnmatch_lines(["FAILED test_suite.py::test_new*"])
    # What was mended is named, so that it can be struck out.
    result = suite("def test_old():\n    asyncio.run(fine())\n", LIMIT, "-v", ini=ini)
    assert outcomes(result) == {"passed": 1}
    result.stdout.fnmatch_lines(["*not seen in this run:", "  test_suite.py:block:system_call"])


PLUGINS = """
import pytest_asyncio
try:
    import uvloop
except ImportError:
    uvloop = None

@pytest_asyncio.fixture
async def slow_asyncio():
    time.sleep(NAP)
    yield
    time.sleep(NAP)

@pytest.mark.asyncio
async def test_asyncio_fine(slow_asyncio):
    await fine()

@pytest.mark.asyncio
async def test_asyncio_blocks(slow_asyncio):
    await block()

@pytest.fixture(params=["asyncio"] + (["uvloop"] if uvloop else []))
def anyio_backend(request):
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})

@pytest.fixture
async def slow_anyio(anyio_backend):
    time.sleep(NAP)
    yield
    time.sleep(NAP)

@pytest.mark.anyio
async def test_anyio_fine(slow_anyio):
    await fine()

@pytest.mark.anyio
async def test_anyio_blocks(slow_anyio):
    await block()

def test_uvloop_blocks_at_once():
    if uvloop is None:
        pytest.skip()
    uvloop.run(block())

class TestCases(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        time.sleep(NAP)

    async def test_case_fine(self):
        await fine()

    async def test_case_blocks(self):
        await block()
"""


@pytest.mark.parametrize("args", [[], ["-n2"]], ids=["alone", "xdist"])
def test_it_works_with_other_plugins(suite, args):
    result = suite(PLUGINS, LIMIT, "-p", "no:timeout", *args)
    failed = {line.split(" ")[1] for line in result.outlines if line.startswith("FAILED ")}
    expected = {"test_asyncio_blocks", "TestCases::test_case_blocks", "test_anyio_blocks[asyncio]"}
    if sys.version_info < (3, 15):
        expected |= {"test_anyio_blocks[uvloop]", "test_uvloop_blocks_at_once"}
    assert failed == {f"test_suite.py::{name}" for name in expected}
    # Under xdist the workers found it, and the controller tells.
    result.stdout.fnmatch_lines(
        [
            "test_suite.py:* in block: 0.* s",
            f"{len(expected)} blocks of more than 0.1 s",
        ]
    )


def test_workers_of_xdist_write_one_baseline(suite, pytester):
    result = suite(
        BLOCKING, LIMIT, "-n2", "--offloop-write-baseline", "--offloop-baseline=known.json"
    )
    assert outcomes(result) == {"failed": 1, "passed": 5}
    blocks = json.loads((pytester.path / "known.json").read_text())["blocks"]
    assert list(blocks) == ["test_suite.py:block:system_call"]


def test_a_test_that_stands_in_a_debugger_does_not_fail(suite, pytester):
    pytester.makepyfile(
        test_debugged=HEAD
        + """
async def main():
    breakpoint()

def test_debugged():
    asyncio.run(main())

def test_blocks():
    asyncio.run(block())
"""
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", LIMIT]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    with subprocess.Popen(
        command,
        cwd=pytester.path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        seen = ""
        while "(Pdb)" not in seen:
            piece = process.stdout.read(1)
            assert piece, seen
            seen += piece
        time.sleep(1)
        out, _ = process.communicate("c\n", timeout=60)
    assert "1 failed, 1 passed" in out
    assert "FAILED test_debugged.py::test_blocks" in out


def test_logs_of_tests_hold_nothing_of_the_watch(suite):
    result = suite(
        """
def test_it(caplog):
    asyncio.run(block())
    assert caplog.records == []
""",
        "--offloop-watch=100ms",
    )
    assert outcomes(result) == {"passed": 1}


def test_a_test_expected_to_fail_that_passes_but_blocks_fails(suite):
    result = suite(
        """
@pytest.mark.xfail
def test_xpasses():
    asyncio.run(block())

@pytest.mark.xfail
def test_xfails():
    asyncio.run(block())
    raise ValueError
""",
        LIMIT,
    )
    assert outcomes(result) == {"failed": 1, "xfailed": 1}
