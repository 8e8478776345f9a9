"""Runs aiofiles' own tests on `offloop.aiofiles`.

usage: aiofiles_suite.py [FOLDER]      FOLDER: an unpacked source of aiofiles, else from the index

The tests are aiofiles', unchanged. As a pytest plugin this file makes every import of `aiofiles`
give `offloop.aiofiles`, and refuses to run if another one gets in. They run twice, on aiofiles
itself and on offloop: what fails on both tells nothing. `DIFFERENCES` are those that are known to
fail on offloop alone, each with its reason.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "25.1.0"
PLUGIN = "pytest-asyncio==1.4.0"
"""What aiofiles' tests run on; not in offloop's own environment, whose tests do without."""
FEWEST = 200
"""So many tests have to pass on aiofiles itself, else the run proves nothing."""
DIFFERENCES: dict[str, str] = {}


def pytest_configure() -> None:
    """Give `offloop.aiofiles` the name of aiofiles."""
    if os.environ["OFFLOOP_SUITE_THROUGH"] != "offloop":
        return
    import offloop.aiofiles as ours

    for found in pkgutil.walk_packages(ours.__path__, "offloop.aiofiles."):
        importlib.import_module(found.name)
    prefix = "offloop.aiofiles"
    for name in [name for name in sys.modules if name == prefix or name.startswith(prefix + ".")]:
        sys.modules[name.removeprefix("offloop.")] = sys.modules[name]


_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: object) -> None:
    """Keep the worst outcome of each test's phases."""
    if report.when == "call" or report.outcome != "passed":  # type: ignore[attr-defined]
        _outcomes[report.nodeid] = report.outcome  # type: ignore[attr-defined]


def pytest_sessionfinish() -> None:
    """Leave what happened for `main`, and which aiofiles it happened to."""
    import aiofiles

    told = {"tested": aiofiles.__name__, "outcomes": _outcomes}
    Path(os.environ["OFFLOOP_SUITE_REPORT"]).write_text(json.dumps(told))


def fetched(folder: Path, given: str | None) -> Path:
    """Fetch what is to be run, and what it runs on; gives the folder of aiofiles' source."""
    pip = [sys.executable, "-m", "pip"]
    options = ["-q", "--no-deps", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", *options, "--target", str(folder / "site"), PLUGIN], check=True
    )
    if given is not None:
        return Path(given)
    source = ["--no-binary", ":all:", f"aiofiles=={VERSION}", "-d", str(folder)]
    subprocess.run([*pip, "download", *options, *source], check=True)
    subprocess.run(["tar", "xzf", f"aiofiles-{VERSION}.tar.gz"], cwd=folder, check=True)
    return folder / f"aiofiles-{VERSION}"


def outcomes(source: Path, folder: Path, through: str) -> dict[str, str]:
    """Run the tests on `through`; gives how each ended."""
    report = folder / f"{through}.json"
    paths = [str(Path(__file__).parent), str(folder / "site")]
    if through == "aiofiles":
        paths.append(str(source / "src"))
    environment = {
        **os.environ,
        "OFFLOOP_SUITE_REPORT": str(report),
        "OFFLOOP_SUITE_THROUGH": through,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "aiofiles_suite", "-p", "no:offloop"]
    command += ["-p", "pytest_asyncio", "-p", "no:cacheprovider", "--timeout=60", "tests"]
    run = subprocess.run(
        command,
        check=False,
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )
    if os.environ.get("OFFLOOP_SUITE_VERBOSE"):
        print(run.stdout)
    if not report.exists():
        sys.exit(run.stdout + run.stderr)
    told = json.loads(report.read_text())
    expected = "offloop.aiofiles" if through == "offloop" else "aiofiles"
    if told["tested"] != expected:
        sys.exit(f"the tests ran on {told['tested']}, not on {expected}")
    ended: dict[str, str] = told["outcomes"]
    return ended


def main(given: str | None = None) -> str | None:
    """Return what is wrong, or None."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = fetched(folder, given)
        theirs = outcomes(source, folder, "aiofiles")
        ours = outcomes(source, folder, "offloop")
    counted = [test for test, outcome in theirs.items() if outcome == "passed"]
    failed = [test for test in counted if ours.get(test) != "passed"]
    print(f"aiofiles {VERSION}: {len(counted)} of {len(theirs)} tests pass on aiofiles itself")
    print(f"{len(counted) - len(failed)} of them pass on offloop.aiofiles")
    for test in failed:
        print(f"  differs: {test}: {DIFFERENCES.get(test.partition('[')[0], 'NOT EXPLAINED')}")
    if len(counted) < FEWEST:
        return f"fewer than {FEWEST} tests"
    unexplained = [test for test in failed if test.partition("[")[0] not in DIFFERENCES]
    # A reason without a difference is out of date.
    stale = DIFFERENCES.keys() - {test.partition("[")[0] for test in failed}
    wrong = {"unexplained": unexplained, "no difference any more": sorted(stale)}
    return "; ".join(f"{what}: {tests}" for what, tests in wrong.items() if tests) or None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
