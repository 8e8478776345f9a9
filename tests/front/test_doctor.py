"""`offloop doctor`: what is found, what is slow, and no secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import offloop


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "offloop", "doctor", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_tells_versions_threads_roots_and_limits():
    done = doctor("--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    facts = report["facts"]
    assert facts["versions"]["python"].startswith(".".join(map(str, sys.version_info[:3])))
    assert facts["limits"]["connections to a host"] == offloop.Limits().per_host
    assert facts["runtime"]["await of a Job (µs)"] > 0
    assert facts["processes"]["offloop usable"] == "yes"
    assert "found" in facts["root certificates"]
    if sys.platform == "linux":
        assert "offloop" in facts["runtime"]["threads"]
    assert report["broken"] == []


def test_the_plain_text_has_every_section_and_the_findings():
    done = doctor()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for section in ("versions", "limits", "root certificates", "runtime", "findings"):
        assert section in lines


@pytest.mark.parametrize(
    ("variables", "remark"),
    [
        ({"PYTHONASYNCIODEBUG": "1"}, "debug mode"),
        ({"HTTPS_PROXY": "http://ann:secret@proxy.example:3128"}, "through a proxy"),
    ],
)
def test_what_slows_programs_down_is_named(variables: dict[str, str], remark: str):
    done = doctor(**variables)
    assert remark in done.stdout
    assert "secret" not in done.stdout
    assert "ann" not in done.stdout.split("findings")[0].split("environment")[1]


def test_what_is_broken_is_told_by_the_exit_code():
    done = doctor(SSL_CERT_FILE="/nowhere/roots.pem")
    assert done.returncode == 1
    assert "broken: SSL_CERT_FILE" in done.stdout
