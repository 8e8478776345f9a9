"""The picture of the README shows what was measured."""

from __future__ import annotations

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[2]


def picture() -> Any:
    spec = importlib.util.spec_from_file_location("picture", ROOT / "benches" / "picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_drawn_from_the_results_that_are_there():
    made = picture()
    drawn = made.draw(json.loads(made.RESULTS.read_text()))
    assert made.PICTURE.read_text(encoding="utf-8") == drawn, "python benches/picture.py"
    assert next(iter(made.figures(json.loads(made.RESULTS.read_text())))) == "offloop"


def test_it_is_svg_with_a_background_and_words_for_those_who_do_not_see_it():
    root = ElementTree.parse(ROOT / "docs" / "figures.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert "microseconds" in (root.findtext(f"{space}title") or "")
    background = root.find(f"{space}rect")
    assert background is not None
    assert background.get("fill") == "#ffffff"
