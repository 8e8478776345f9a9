"""Every block of Python in the documentation runs, in the order in which it is printed.

The blocks of a page share one namespace, in which `server` is the URL of a server
(`pages_server.py`), `client` an `offloop.Client` for it, and `await` works. A block that begins
with ``import`` and ends in ``asyncio.run(...)`` is a program of its own, and run as one. The
current folder is an empty one.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import offloop
from servers import Server, serve

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"offloading.md"}
"""Its functions have to be importable in worker processes: tests/offload runs it."""
PAGES = sorted(
    page
    for page in (ROOT / "docs").rglob("*.md")
    if "decisions" not in page.parts and page.name not in ELSEWHERE
)
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<kind>\S+)(?P<rest>[^\n]*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
LIMIT = 60


@pytest.fixture(scope="module")
def pages_server() -> Iterator[Server]:
    with serve("../docs/pages_server") as running:
        yield running


def blocks(page: Path) -> list[tuple[int, str]]:
    """Line and code of each block of Python."""
    text = page.read_text(encoding="utf-8")
    return [
        (text[: found.start()].count("\n") + 1, textwrap.dedent(found["code"]))
        for found in BLOCK.finditer(text)
        if found["kind"] == "python" and "not-run" not in found["rest"]
    ]


def is_a_program(code: str) -> bool:
    return "asyncio.run(" in code or '__name__ == "__main__"' in code


def run_program(code: str, place: str, server: str, folder: Path) -> str:
    """Run it as a file of its own, and return what it prints."""
    file = folder / "program.py"
    file.write_text(code.replace("http://127.0.0.1:8000", server), encoding="utf-8")
    environment = {**os.environ, "SERVER": server}
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{place}\n{done.stdout}{done.stderr}"
    return done.stdout


async def run_block(code: str, place: str, names: dict[str, Any]) -> None:
    compiled = compile(code, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(compiled, names)
    if inspect.iscoroutine(outcome):
        await outcome


@pytest.mark.once
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_every_block_of_a_page_runs(
    page: Path, pages_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    found = blocks(page)

    async def main() -> None:
        url = pages_server.url
        names: dict[str, Any] = {"__name__": "docs", "asyncio": asyncio, "offloop": offloop}
        names.update(server=url, client=offloop.Client(base_url=url), Path=Path)
        for line, code in found:
            place = f"{page.relative_to(ROOT)}:{line}"
            if is_a_program(code):
                await asyncio.to_thread(run_program, code, place, url, tmp_path)
                continue
            try:
                async with asyncio.timeout(LIMIT):
                    await run_block(code, place, names)
            except BaseException as error:
                error.add_note(f"in the block at {place}")
                raise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(main())


def test_there_are_pages_and_blocks():
    assert sum(len(blocks(page)) for page in PAGES) > 40


def test_each_task_takes_at_most_ten_lines():
    page = ROOT / "docs" / "ten-tasks.md"
    text = page.read_text(encoding="utf-8")
    tasks = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [task.split(".")[0] for task in tasks] == [str(n + 1) for n in range(len(tasks))]
    assert len(tasks) == 10
    for task in tasks:
        found = [block["code"] for block in BLOCK.finditer(task)]
        assert found, task
        lines = [line for code in found for line in code.splitlines() if line.strip()]
        assert len(lines) <= 10, task


@pytest.mark.once
def test_the_task_that_finds_the_blocking_line_names_it_and_its_mend(tmp_path: Path):
    text = (ROOT / "docs" / "ten-tasks.md").read_text(encoding="utf-8")
    task = text[text.index("Find the line that blocks") :]
    found = BLOCK.search(task)
    assert found is not None
    told = run_program(found["code"], "ten-tasks.md", "", tmp_path)
    assert re.search(r"time\.sleep\(0\.3\) .*at program\.py:\d+ in main", told)
    assert "→ await asyncio.sleep(0.3)" in told


LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#]*)(#[^)]*)?\)")


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_pages_outside_the_site_lead_somewhere(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    for found in LINK.finditer(text):
        assert (ROOT / found[1]).exists(), f"{name}: {found[0]}"
