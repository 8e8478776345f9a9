"""Takes guards out one by one and shows which tests notice."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .removals import REMOVALS, Removal

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60
"""Seconds for one test; without a guard some wait for ever."""
ENOUGH = 3
"""Failures after which the rest of a file need not run."""


def copy_of_the_source(to: Path) -> None:
    """Copy what a build needs."""
    for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, to / name)
    for name in ("src", "python", "benches", ".cargo"):
        if (ROOT / name).exists():
            shutil.copytree(
                ROOT / name, to / name, ignore=shutil.ignore_patterns("*.so", "results")
            )


def edit(removal: Removal, tree: Path) -> list[tuple[Path, str]]:
    """Take the guard out; returns the files as they were."""
    kept = []
    for name, before, after in removal.edits:
        path = tree / name
        text = path.read_text()
        if text.count(before) != 1:
            raise SystemExit(f"{removal.name}: {name} has {text.count(before)} times: {before!r}")
        kept.append((path, text))
        path.write_text(text.replace(before, after))
    return kept


def build(tree: Path) -> None:
    """Build the extension module and put it into the copy of the package."""
    out = tree / "wheels"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "maturin", "build", "-q", "--profile", "dev", "-o", str(out)]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target" / "controls")}
    subprocess.run(command, cwd=tree, env=environment, check=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".so"))
        (tree / "python" / name).write_bytes(wheel.read(name))


def failing(test_file: str, tree: Path) -> list[str]:
    """The tests of one file that fail against the build in `tree`."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", test_file]
    command += [f"--timeout={LIMIT}", f"--maxfail={ENOUGH}"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "python")}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    names = re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+?)(?:\[| |$)", ended.stdout, re.MULTILINE)
    if not names and ended.returncode:
        names = [f"{test_file} did not end"]
    return list(dict.fromkeys(names))


def main() -> int:
    """Run the controls; the exit status says whether one of them was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("guards", nargs="*", help=", ".join(one.name for one in REMOVALS))
    wanted = parser.parse_args().guards
    unknown = set(wanted) - {one.name for one in REMOVALS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="offloop-controls-") as folder:
        tree = Path(folder)
        copy_of_the_source(tree)
        print("| without | what it does | tests that notice |\n| --- | --- | --- |")
        for removal in REMOVALS:
            if wanted and removal.name not in wanted:
                continue
            kept = edit(removal, tree)
            build(tree)
            names = [name for file in removal.tests for name in failing(file, tree)]
            for path, text in reversed(kept):
                path.write_text(text)
            if not names:
                unnoticed.append(removal.name)
            shown = ", ".join(f"`{name}`" for name in names) or "none"
            print(f"| {removal.name} | {removal.what} | {shown} |", flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
