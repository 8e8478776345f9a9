"""Runs httpx's own tests through `offloop.httpx`: those that reach the network layer are counted.

usage: httpx_suite.py [FOLDER]      FOLDER: an unpacked source of httpx 0.28.1, else from the index

The tests are httpx's, unchanged. As a pytest plugin this file gives every client that asks for no
transport of its own offloop's instead of httpcore's, and tells which tests sent something through
it. `DIFFERENCES` are those that are known to fail; docs/httpx.md explains each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VERSION = "0.28.1"
LEAST = 0.97
"""The part of the tests through the transport that has to pass."""
FEWEST = 60
"""There have to be so many."""
DIFFERENCES = {
    "tests/test_api.py::test_httpcore_lazy_loading": "asks whether httpcore has been imported",
}


def pytest_configure() -> None:
    """Put offloop's transports in the place of httpcore's."""
    if os.environ["OFFLOOP_SUITE_THROUGH"] != "offloop":
        return
    import httpx

    from offloop.httpx import SyncTransport, Transport

    def asked(options: dict[str, Any]) -> dict[str, Any]:
        verify = options.pop("verify", True)
        # Their SSL contexts hold the roots of the system, as True does here.
        return {**options, "verify": verify if isinstance(verify, (bool, str)) else True}

    for client, kind in ((httpx.AsyncClient, Transport), (httpx.Client, SyncTransport)):

        def init_transport(
            _self: Any, transport: Any = None, _kind: Any = kind, **options: Any
        ) -> Any:
            return transport if transport is not None else counted(_kind(**asked(options)))

        client._init_transport = init_transport


_carried: set[str] = set()


def counted(transport: Any) -> Any:
    """Write down which test sends through `transport`."""
    name = (
        "handle_async_request" if hasattr(transport, "handle_async_request") else "handle_request"
    )
    original = getattr(transport, name)

    def handle(request: Any) -> Any:
        _carried.add(os.environ.get("PYTEST_CURRENT_TEST", "?").rpartition(" ")[0])
        return original(request)

    setattr(transport, name, handle)
    return transport


_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: Any) -> None:
    """Keep the worst outcome of each test's phases."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Leave what happened for `main`."""
    told = {"carried": sorted(_carried), "outcomes": _outcomes}
    Path(os.environ["OFFLOOP_SUITE_REPORT"]).write_text(json.dumps(told))


def source(folder: Path) -> Path:
    """Fetch and unpack httpx's source distribution."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, f"httpx=={VERSION}", "-d", str(folder)], check=True)
    subprocess.run(["tar", "xzf", f"httpx-{VERSION}.tar.gz"], cwd=folder, check=True)
    return folder / f"httpx-{VERSION}"


def outcomes(folder: Path, through: str) -> dict[str, Any]:
    """Run the tests, by way of `through`, and return what was carried and how each ended."""
    with tempfile.NamedTemporaryFile() as report:
        environment = {
            **os.environ,
            "OFFLOOP_SUITE_REPORT": report.name,
            "OFFLOOP_SUITE_THROUGH": through,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "httpx_suite", "-p", "no:offloop"]
        command += ["-p", "no:cacheprovider", "-o", "filterwarnings=ignore", "--timeout=60"]
        # offloop is for asyncio; the test of connect_timeout needs a network.
        command += ["-k", "not trio and not test_connect_timeout", "tests"]
        run = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        if os.environ.get("OFFLOOP_SUITE_VERBOSE"):
            print(run.stdout)
        told: dict[str, Any] = json.loads(Path(report.name).read_text() or "{}")
    if not told:
        sys.exit(run.stdout + run.stderr)
    return told


def main(given: str | None = None) -> str | None:
    """Return what is wrong, or None."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given) if given else source(Path(temporary))
        plain = outcomes(folder, "httpcore")["outcomes"]
        told = outcomes(folder, "offloop")
    # What fails with httpcore, too, for want of a network or of older versions of other
    # packages, tells nothing.
    carried = [test for test in told["carried"] if plain.get(test) == "passed"]
    failed = [test for test in carried if told["outcomes"].get(test) != "passed"]
    worse = [
        test
        for test, outcome in told["outcomes"].items()
        if outcome == "failed" and plain.get(test) == "passed" and test not in carried
    ]
    passed = len(carried) - len(failed)
    share = passed / max(1, len(carried))
    print(f"httpx {VERSION}: of {len(told['outcomes'])} tests {len(carried)} send something")
    print(f"{passed} passed, {len(failed)} failed through offloop ({share:.1%})")
    print(f"{len(told['carried']) - len(carried)} more fail with httpcore as well: not counted")
    for test in failed:
        print(f"  differs: {test}: {DIFFERENCES.get(test.partition('[')[0], 'NOT EXPLAINED')}")
    if len(carried) < FEWEST or share < LEAST:
        return f"less than {LEAST:.0%} of at least {FEWEST} tests"
    unexplained = [test for test in failed if test.partition("[")[0] not in DIFFERENCES]
    return f"unexplained: {unexplained + worse}" if unexplained or worse else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
