"""The table of mends and its page."""

from __future__ import annotations

import re
from pathlib import Path

from offloop._watch import mends

PAGE = Path(__file__).parents[2] / "docs/blocking.md"


def test_every_row_of_the_table_has_an_entry_of_the_page_and_every_entry_a_row():
    documented = re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    known = {row.entry for row in (*mends.TABLE, *mends.BY_CAUSE.values())}
    assert sorted(documented) == sorted(known)
