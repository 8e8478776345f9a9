"""Checks what is shipped: the contents and size of the wheel, and that no crate of ours is unsafe.

usage: check_wheel.py WHEEL
"""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from pathlib import Path

LIMIT_MIB = 6
ROOT = Path(__file__).parent.parent


def main(wheel: str) -> str | None:
    """Return what is wrong, or None."""
    size = Path(wheel).stat().st_size / 2**20
    names = zipfile.ZipFile(wheel).namelist()
    print(f"{Path(wheel).name}: {size:.2f} MiB, {len(names)} files")
    if size > LIMIT_MIB:
        return f"the wheel is larger than {LIMIT_MIB} MiB"
    strays = [name for name in names if not re.match(r"offloop(/|-[^/]+\.dist-info/)", name)]
    if strays:
        return f"the wheel holds strays: {strays}"
    for needed in ("offloop/_offloop.abi3.so", "offloop/_offloop.pyi", "offloop/py.typed"):
        if needed not in names:
            return f"the wheel lacks {needed}"
    profile = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["release"]
    if (profile["panic"], profile["overflow-checks"]) != ("unwind", True):
        return "a release must unwind and check for overflow"
    unsafe = re.compile(r"^\s*(pub )?unsafe |[^_\w]unsafe \{", re.MULTILINE)
    found = [str(path) for path in (ROOT / "src").rglob("*.rs") if unsafe.search(path.read_text())]
    crates = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"{crates} crates in Cargo.lock, {len(found)} files with unsafe code of our own")
    return f"unsafe code in {found}" if found else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
