"""What a section is asked to do, and what it gives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import ROOT, Cores
from processes import Figures, Notes, Samples, medians
from tables import Table


@dataclass(frozen=True)
class Plan:
    """How much is to be measured, and where."""

    rounds: int
    quick: bool
    cores: Cores
    only: tuple[str, ...] = ()
    """Texts of which a case's label must have one; none means all cases."""
    clients: tuple[str, ...] = ()
    """The clients that take part in `fetch` and `spin`; none means all."""

    @property
    def is_part(self) -> bool:
        """Whether some of what there is to measure is left out."""
        return bool(self.only or self.clients)

    def wants(self, label: str) -> bool:
        """Whether a case is to be measured."""
        return not self.only or any(text in label for text in self.only)

    @property
    def reqwest_loop(self) -> Path:
        """Where cargo puts the Rust loop."""
        return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/reqwest-loop"


@dataclass
class Section:
    """The figures of one section: raw by group and contender, and the table made of them."""

    table: Table
    samples: dict[str, Samples]
    notes: Notes = field(default_factory=Notes)

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data, with the medians that the table shows."""
        middle: dict[str, dict[str, Figures]] = {
            group: {name: medians(taken) for name, taken in samples.items()}
            for group, samples in self.samples.items()
        }
        return {
            "table": self.table.as_json(),
            "notes": self.notes.lines,
            "medians": middle,
            "samples": self.samples,
        }


def core_argument(core: int | None) -> str:
    """Write a core for a worker's command line."""
    return "-" if core is None else str(core)
