"""Every example of docs/offloading.md runs as it stands, in order, in one place for all names."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import re
import textwrap
import types
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "offloading.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"# needs: (\w+)")

PRELUDE = """
import asyncio, concurrent.futures, contextlib, math, os, signal, sys, threading, time
import offloop

def double(number):
    return 2 * number
"""


def test_the_examples_run_as_they_stand() -> None:
    module = types.ModuleType("example")
    exec(PRELUDE, module.__dict__)

    async def main() -> None:
        for example in EXAMPLES:
            needed = NEEDS.search(example)
            if needed and importlib.util.find_spec(needed[1]) is None:
                continue
            if needed:
                exec(f"import {needed[1]}", module.__dict__)
            code = compile(
                textwrap.dedent(example),
                str(DOCUMENT),
                "exec",
                flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            )
            outcome: Any = eval(code, module.__dict__)
            if inspect.isawaitable(outcome):
                async with asyncio.timeout(60):
                    await outcome
        pool = module.__dict__.get("pool")
        if pool is not None:
            pool.close(grace=0)

    asyncio.run(main())


def test_there_are_examples_of_every_place() -> None:
    shown = "".join(EXAMPLES)
    for name in ("to_process", "to_interpreter", "Pool.dask", "RayExecutor", "on=executor"):
        assert name in shown
