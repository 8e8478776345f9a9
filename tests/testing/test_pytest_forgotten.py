"""The pytest plugin names what was never awaited, and the line that made it."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

FAIL = "--offloop-fail-on-forgotten"
HEAD = """
import asyncio, gc, warnings
from unittest import mock
import pytest
import offloop

async def work(): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester):
    """Runs pytest on the given source; gives its result."""

    def run(source, *args, ini=""):
        pytester.makepyfile(test_suite=HEAD + source)
        pytester.makeini("[pytest]\n" + ini)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *args, timeout=90)

    return run


def outcomes(result):
    return {name: n for name, n in result.parseoutcomes().items() if name != "warnings"}


FORGETS = """
def test_coroutine():
    async def main():
        work()  # here
    asyncio.run(main())

def test_coroutine_in_a_cycle():
    async def main():
        kept = [work()]
        kept.append(kept)
    asyncio.run(main())

def test_job():
    async def main():
        answer = offloop.run(len, "abc")
    asyncio.run(main())

def test_of_a_mock():
    mock.AsyncMock()()

@pytest.fixture
def forgetful():
    yield
    work()

def test_with_a_forgetful_fixture(forgetful):
    pass

@pytest.fixture
def holder():
    return []

def test_held_by_a_fixture(holder):
    holder.append(work())
    holder.append(holder)

def test_fine():
    async def main():
        await work()
        await offloop.run(len, "abc")
        await asyncio.gather(work(), offloop.run(len, ""))
    asyncio.run(main())
"""


def test_what_was_forgotten_fails_its_test_with_the_line_that_made_it(suite):
    result = suite(FORGETS, FAIL)
    text = result.stdout.str()
    assert outcomes(result) == {"failed": 4, "passed": 3, "errors": 1}
    result.stdout.fnmatch_lines(
        [
            "coroutine 'work' was never awaited: made at test_suite.py:10",
            "    work()  # here",
            "  → await work()",
            "*_ test_coroutine_in_a_cycle _*",
            "coroutine 'work' was never awaited: made at test_suite.py:15",
            "    kept = [[]work()]",
            "Job 'len' was never awaited: made at test_suite.py:21",
            '    answer = offloop.run(len, "abc")',
            "  → answer = await offloop.run(len, 'abc')",
            "*_ test_of_a_mock _*",
            "coroutine 'AsyncMockMixin.*' was never awaited: made at test_suite*25",
        ]
    )
    assert "ERROR test_suite.py::test_with_a_forgetful_fixture" in text
    # It goes with the fixture's value, when the test was told to have passed: named all the same.
    section = text.partition("offloop: never awaited =")[2]
    assert "test_suite.py::test_held_by_a_fixture" in section
    assert "test_fine" not in section


def test_workers_of_xdist_send_what_was_forgotten(suite):
    result = suite(FORGETS, FAIL, "-n2")
    section = result.stdout.str().partition("offloop: never awaited =")[2]
    for name in ("coroutine", "job", "of_a_mock", "held_by_a_fixture"):
        assert f"test_suite.py::test_{name}\n" in section
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_what_surfaces_after_its_test_fails_the_run(suite):
    source = """
@pytest.fixture
def holder():
    return []

def test_last(holder):
    holder.append(work())
"""
    result = suite(source, FAIL)
    assert outcomes(result) == {"passed": 1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert suite(source).ret == pytest.ExitCode.OK


def test_without_the_option_nothing_fails(suite):
    result = suite(FORGETS)
    assert outcomes(result) == {"passed": 7}
    assert "offloop: never awaited" not in result.stdout.str()


def test_watch_reports_it_and_fails_nothing(suite):
    result = suite(FORGETS, "--offloop-watch")
    assert outcomes(result) == {"passed": 7}
    result.stdout.fnmatch_lines(["*offloop: never awaited*"])


def test_what_a_test_catches_or_ignores_is_meant(suite):
    result = suite(
        """
def test_caught():
    with pytest.warns(RuntimeWarning, match="'work' was never awaited"):
        work()

def test_recorded(recwarn):
    work()
    assert len(recwarn) == 1

@pytest.mark.filterwarnings("ignore:coroutine 'work':RuntimeWarning")
def test_ignored():
    work()

def test_not_ignored():
    work()
""",
        FAIL,
    )
    assert outcomes(result) == {"failed": 1, "passed": 3}


def test_filters_that_make_warnings_errors_change_nothing(suite):
    result = suite(
        "def test_it():\n    work()\n\ndef test_job():\n    offloop.run(len, '')\n",
        FAIL,
        "-pno:asyncio",
        ini="filterwarnings = error",
    )
    assert outcomes(result) == {"failed": 2}
    result.stdout.fnmatch_lines(["coroutine 'work' was never awaited: *", "Job 'len' *"])


def test_the_warning_names_the_place_that_it_names_without_the_plugin(suite):
    source = "def test_it():\n    work()\n"
    for args in ([], [FAIL]):
        result = suite(source, *args)
        result.stdout.fnmatch_lines(["*test_suite.py:8: RuntimeWarning: coroutine 'work' was *"])


def test_the_ini_file_switches_it_on(suite):
    source = "def test_it():\n    work()\n"
    assert outcomes(suite(source, ini="offloop_fail_on_forgotten = true")) == {"failed": 1}
