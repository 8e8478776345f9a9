"""`import offloop` is quick, and whatever is imported first finds the package ready."""

from __future__ import annotations

import importlib.util
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import offloop

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(offloop.__path__, "offloop.")
    if "._" not in found.name and not found.name.startswith("offloop.pools.")
)
"""Those that users import; the others are imported by them."""

# An extra's module without its extra.
LACKING = {"offloop.telemetry": "opentelemetry"}


def python(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_offloop_loads_neither_asyncio_nor_the_extension():
    code = (
        "import sys, json, offloop; "
        "print(json.dumps([it for it in ('asyncio', 'offloop._offloop') if it in sys.modules]))"
    )
    assert python(code) == []


@pytest.mark.once
def test_importing_offloop_takes_less_than_15_ms():
    command = [sys.executable, "-X", "importtime", "-c", "import offloop"]
    took = []
    for _ in range(10):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        line = next(it for it in done.stderr.splitlines() if it.split("|")[-1].strip() == "offloop")
        took.append(int(line.split("|")[1]) / 1e3)
    assert min(took) < 15, took


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_imported_first_has_the_hooks_installed(module: str):
    if (needed := LACKING.get(module)) and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    code = f"""
import sys, json, importlib
importlib.import_module({module!r})
used = "offloop._offloop" in sys.modules
from offloop import _lifecycle
import offloop
print(json.dumps([used, _lifecycle._ready, callable(offloop.fetch)]))
"""
    used, ready, fetch_is_a_function = python(code)
    assert fetch_is_a_function
    assert ready or not used, f"{module} has to call _lifecycle.make_ready()"


def test_public_names_that_are_modules_too_are_kept():
    folder = Path(offloop.__file__).parent
    modules = {it.stem for it in folder.glob("*.py")} | {it.name for it in folder.iterdir()}
    functions = {it for it in offloop.__all__ if not inspect.ismodule(getattr(offloop, it))}
    shared = modules & functions
    assert shared <= offloop._FUNCTIONS, "offloop/__init__.py has to know them"


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = offloop.nothing_of_this_name
    assert set(offloop.__all__) <= set(dir(offloop))
    for name in offloop.__all__:
        assert getattr(offloop, name) is not None
