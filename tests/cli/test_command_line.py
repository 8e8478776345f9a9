"""The console command as such: help, version, and what is wrong with a command line."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once


def offloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "offloop", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_command_it_shows_what_there_is():
    done = offloop()
    assert (done.returncode, done.stdout) == (2, "")
    for command in ("get", "demo", "doctor", "bench"):
        assert f"\n    {command} " in done.stderr
    assert offloop("--help").stdout == done.stderr


def test_it_tells_its_version():
    done = offloop("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"offloop {importlib.metadata.version('offloop')}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["fetch"], 2, "invalid choice: 'fetch'"),
        (["get"], 2, "give URLs"),
        (["get", "--limit", "0", "http://127.0.0.1:1/"], 2, "1 or more"),
        (["get", "htp://127.0.0.1/"], 1, "it has to begin with http:// or https://"),
        (["demo", "nonsense"], 1, "it has to begin with http:// or https://"),
        (["demo", "http://127.0.0.1:1/?token=secret"], 1, "cannot connect to 127.0.0.1:1"),
        (["doctor", "now"], 2, "unrecognized arguments: now"),
    ],
)
def test_what_is_wrong_is_told_in_words_and_by_the_exit_code(
    arguments: list[str], code: int, told: str
):
    done = offloop(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
