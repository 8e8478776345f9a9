"""Tables of figures: on the terminal, with rich where it is installed, and in markdown."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

DASH = "–"  # noqa: RUF001 - an en dash stands for "no figure"


@dataclass
class Table:
    """A table whose cells are ready to be read; the first `labels` columns are words."""

    title: str
    columns: list[str]
    labels: int
    rows: list[list[str]]

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)

    def markdown(self) -> str:
        """Give it as a markdown table under a heading."""
        rule = ["---"] * self.labels + ["---:"] * (len(self.columns) - self.labels)
        lines = [" | ".join(row) for row in (self.columns, rule, *self.rows)]
        return f"## {self.title}\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"

    def show(self) -> None:
        """Print it."""
        if importlib.util.find_spec("rich") is None:
            print(self._plain())
        else:
            self._show_rich()

    def _show_rich(self) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable

        table = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for index, column in enumerate(self.columns):
            word = index < self.labels
            table.add_column(column, justify="left" if word else "right", no_wrap=word)
        before: str | None = None
        grouped = len({row[0] for row in self.rows}) < len(self.rows)
        for row in self.rows:
            if grouped and before not in (None, row[0]):
                table.add_section()
            before = row[0]
            table.add_row(*row, style="bold" if "offloop" in row[: self.labels] else None)
        console = Console()
        if not console.is_terminal:  # a pipe has no width to fit in
            console = Console(width=160)
        console.print(table)

    def _plain(self) -> str:
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        lines = [self.title]
        for row in (self.columns, ["-" * width for width in widths], *self.rows):
            cells = [
                cell.ljust(width) if index < self.labels else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines) + "\n"


def count(value: float | None) -> str:
    """Write a number of things, to three digits or the unit."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def decimal(value: float | None, digits: int = 2) -> str:
    """Write a number with so many decimals; a dash for none."""
    return DASH if value is None else f"{value:,.{digits}f}"


def percent(part: float | None) -> str:
    """Write a part as per cent; a dash for none."""
    return DASH if part is None else f"{part * 100:.0f} %"


def times(value: float, base: float | None) -> str:
    """Write how many times `base` the value is."""
    if not base:
        return DASH
    ratio = value / base
    return f"{ratio:.2f}x" if ratio >= 0.005 else "<0.01x"
