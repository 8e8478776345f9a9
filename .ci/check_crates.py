"""Checks the crates that go into the wheel, offline: licences, known-bad versions, their number.

The floors are the first versions without the advisories known when they were written (RustSec,
2025 and 2026); they are kept here so that the check needs no network.
"""

from __future__ import annotations

import json
import subprocess
import sys

LICENCES = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause",
    "BSD-3-Clause", "CDLA-Permissive-2.0", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
FLOORS = {
    "bytes": (1, 11, 1),
    "h2": (0, 4, 16),
    "idna": (1, 0, 3),
    "pyo3": (0, 30, 1),
    "ring": (0, 17, 12),
    "rustls-webpki": (0, 103, 13),
    "tokio": (1, 44, 2),
}
MOST = 120
"""More crates than this in the wheel and somebody should ask why."""


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def is_allowed(expression: str) -> bool:
    """Whether one alternative of a licence expression is on the list."""
    alternatives = expression.replace("(", "").replace(")", "").replace("/", " OR ").split(" OR ")
    return any(
        all(part.strip() in LICENCES for part in alternative.split(" AND "))
        for alternative in alternatives
    )


def main() -> str | None:
    """Return what is wrong, or None."""
    tree = output(*"cargo tree --locked -p offloop-py -e normal,build --prefix none -f {p}".split())
    used = {tuple(line.split(" ")[:2]) for line in tree.splitlines() if line}
    metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1"))
    wrong = []
    for package in metadata["packages"]:
        name, version = package["name"], package["version"]
        if (name, f"v{version}") not in used:
            continue
        if not is_allowed(package["license"] or ""):
            wrong.append(f"{name} {version}: licence {package['license']}")
        numbers = tuple(int(part) for part in version.split("-")[0].split("+")[0].split("."))
        if numbers < FLOORS.get(name, (0,)):
            wrong.append(f"{name} {version}: below {FLOORS[name]}")
    print(f"{len(used)} crates go into the wheel, {len(wrong)} of them are not accepted")
    if len(used) > MOST:
        wrong.append(f"more than {MOST} crates")
    return "\n".join(wrong) or None


if __name__ == "__main__":
    sys.exit(main())
