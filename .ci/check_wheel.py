"""Checks what is shipped: the contents and size of the wheel, and where `unsafe` stands.

usage: check_wheel.py WHEEL
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

LIMIT_MIB = 6
UNSAFE = {"src/py/bytes.rs"}
"""The one file that may hold unsafe code; docs/decisions/0011 has the measurement."""
ROOT = Path(__file__).parent.parent


def main(wheel: str) -> str | None:  # noqa: PLR0911 - one for each thing that can be wrong
    """Return what is wrong, or None."""
    size = Path(wheel).stat().st_size / 2**20
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        boms = [archive.read(name) for name in names if re.search(r"\.dist-info/sboms/", name)]
    print(f"{Path(wheel).name}: {size:.2f} MiB, {len(names)} files")
    if size > LIMIT_MIB:
        return f"the wheel is larger than {LIMIT_MIB} MiB"
    strays = [name for name in names if not re.match(r"offloop(/|-[^/]+\.dist-info/)", name)]
    if strays:
        return f"the wheel holds strays: {strays}"
    for needed in ("offloop/_offloop.abi3.so", "offloop/_offloop.pyi", "offloop/py.typed"):
        if needed not in names:
            return f"the wheel lacks {needed}"
    if "manylinux" not in wheel:
        return "the wheel is not for manylinux"
    if len(boms) != 1:
        return f"the wheel holds {len(boms)} software bills of materials, not one (PEP 770)"
    listed = {it["name"] for it in json.loads(boms[0])["components"]}
    print(f"its bill of materials lists {len(listed)} components")
    if not {"hyper", "rustls", "tokio", "pyo3"} <= listed:
        return "the bill of materials lacks what everybody knows is in there"
    profile = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["release"]
    if (profile["panic"], profile["overflow-checks"]) != ("unwind", True):
        return "a release must unwind and check for overflow"
    unsafe = re.compile(r"^\s*(pub )?unsafe |[^_\w]unsafe \{", re.MULTILINE)
    sources = (ROOT / "src").rglob("*.rs")
    found = {str(it.relative_to(ROOT)) for it in sources if unsafe.search(it.read_text())}
    crates = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"{crates} crates in Cargo.lock, {len(found)} files with unsafe code of our own")
    strays = sorted(found - UNSAFE)
    return f"unsafe code in {strays}" if strays else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
