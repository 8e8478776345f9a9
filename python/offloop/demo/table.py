"""Draws a small table: with rich when it is installed (``offloop[cli]``), else with spaces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PIPED_WIDTH = 200
"""Columns to use where there is no terminal to ask: a line in a file need not be broken."""


def draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print `rows` below `columns` to stdout."""
    try:
        _draw_rich(title, columns, rows)
    except ImportError:
        _draw_plain(title, columns, rows)


def _draw_rich(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        # Text, because a str is markup, and a URL may well contain brackets.
        table.add_row(*(Text(cell) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(Text(title), table, sep="\n")


def _draw_plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(title)
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
