"""Draws docs/figures.svg: the CPU time of a GET by client, out of results/fetch.json.

usage: picture.py      (run.py calls it, too, so that the picture never differs from the table)

The picture brings its own background, so that it can be read on a light page and on a dark one.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "fetch.json"
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "figures.svg"
CASE = "1 KiB, 64 in flight"
CLIENTS = ("offloop", "ry", "wreq", "pyreqwest", "aiohttp")
WIDTH, LEFT, RIGHT, TOP, STEP, BAR = 720, 110, 90, 64, 34, 20


def figures(result: dict[str, object]) -> dict[str, float]:
    """Give the CPU time in microseconds by client."""
    table = result["table"]
    assert isinstance(table, dict)
    column = table["columns"].index("CPU µs/request")
    rows = {row[1]: row[column] for row in table["rows"] if row[0] == CASE}
    return {client: float(rows[client].replace(",", "")) for client in CLIENTS if client in rows}


def draw(result: dict[str, object]) -> str:
    """Give the picture as SVG."""
    taken = figures(result)
    machine = result["machine"]
    assert isinstance(machine, dict)
    scale = (WIDTH - LEFT - RIGHT) / max(taken.values())
    height = TOP + STEP * len(taken) + 34
    note = (
        f"nginx on loopback, 1 KiB, 64 at once; {machine['cpu']}, {machine['python']}, "
        f"commit {machine['commit']}"
    )
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">'
        ),
        '<title id="title">CPU time of one GET, in microseconds: '
        + ", ".join(f"{name} {value:g}" for name, value in taken.items())
        + "</title>",
        (
            "<style>text{font:14px system-ui,sans-serif;fill:#1f2933}.head{font-weight:600;"
            "font-size:16px}.note{font-size:11px;fill:#52606d}.own{font-weight:600}</style>"
        ),
        (
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"'
            ' fill="#ffffff" stroke="#cbd2d9"/>'
        ),
        '<text class="head" x="20" y="32">CPU time of one GET, µs (less is better)</text>',
    ]
    for index, (client, value) in enumerate(taken.items()):
        y = TOP + STEP * index
        own = client == "offloop"
        kind = ' class="own"' if own else ""
        lines += [
            f'<text{kind} x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(client)}</text>',
            (
                f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="{BAR}" rx="3"'
                f' fill="{"#c2410c" if own else "#9aa5b1"}"/>'
            ),
            f'<text{kind} x="{LEFT + value * scale + 8:.1f}" y="{y + 15}">{value:.0f} µs</text>',
        ]
    lines.append(f'<text class="note" x="20" y="{height - 16}">{escape(note)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    """Draw it anew."""
    PICTURE.write_text(draw(json.loads(RESULTS.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
