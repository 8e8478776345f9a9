"""The reference shows every public name, and each of them has a docstring."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import offloop

ROOT = Path(__file__).parents[2]
DIRECTIVE = re.compile(r"^::: (?P<name>[\w.]+)\n(?P<options>(?:    .*\n)*)", re.MULTILINE)
MEMBERS = re.compile(r"members: \[(.*)\]")


def shown() -> dict[str, set[str] | None]:
    """What the page shows of each module: names, or None for all of it."""
    found: dict[str, set[str] | None] = {}
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for directive in DIRECTIVE.finditer(page):
        members = MEMBERS.search(directive["options"])
        name = directive["name"]
        if members:
            known = found.setdefault(name, set())
            assert known is not None, f"{name} is shown twice"
            known |= {it.strip() for it in members[1].split(",")}
        elif name.rpartition(".")[2][0].isupper():
            module, _, name = name.rpartition(".")
            found.setdefault(module, set()).add(name)  # type: ignore[union-attr]
        else:
            found[name] = None
    return found


@pytest.mark.parametrize("name", offloop.__all__)
def test_a_public_name_is_in_the_reference_and_documented(name: str):
    value = getattr(offloop, name)
    assert (inspect.getdoc(value) or "").strip(), f"{name} has no docstring"
    pages = shown()
    if inspect.ismodule(value):
        assert value.__name__ in pages
        return
    everywhere = {each for names in pages.values() for each in names or ()}
    assert name in everywhere or pages.get(value.__module__, "") is None, (
        f"docs/reference.md shows no {name} of {value.__module__}"
    )


def test_what_the_reference_names_is_there():
    import importlib

    for module, names in shown().items():
        loaded = importlib.import_module(module)
        for name in names or ():
            assert hasattr(loaded, name), f"{module}.{name}"
