"""Which stalls are findings, and under which key a finding is known from one run to the next.

The rule is docs/decisions/0037: what is pytest's own work, a fixture's, a debugger's, the machine's
or done once per process is not the test's doing. It reads the stack alone, from the newest frame
to the one that is to blame.
"""

from __future__ import annotations

import ast
import linecache
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from offloop._watch import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from offloop._watch.stall import StackFrame, Stall


class Finding(TypedDict):
    """One stall as reports carry it, from a worker of pytest-xdist too: plain values alone."""

    test: str
    key: str
    file: str
    line: int
    function: str
    cause: str
    seconds: float
    code: str
    mend: str
    stack: list[tuple[str, int, str]]
    verdict: str
    """``block``, ``baseline``, ``allowed``, or ``excluded``."""
    why: str
    """The reason, for what is excluded or allowed."""


FAMILIES = {
    "python": "computing",
    "native": "computing",
    "gil": "computing",
    "page_faults": "computing",
}
"""Causes that a sampler takes for one another when a block is short; they share a key."""

CAUSES = {
    "paused": "the process was stopped",
    "gc": "garbage collection",
    "import": "an import",
}
"""Causes that are not the doing of the test they meet, whatever the stack."""

TOOLS = ("_pytest", "pluggy", "xdist", "execnet", "pytest_timeout", "pytest_asyncio")
"""Packages of the test runner."""

WORKS = ("/_pytest/assertion/", "/_pytest/_io/", "/_pytest/capture.py", "/_pytest/logging.py")
"""Where pytest explains, captures and logs: what it calls of the user's is not the test's doing."""

DEBUGGERS = ("pdb.py", "bdb.py", "cmd.py", "code.py", "_pydevd_bundle", "debugpy", "pydevd.py")
"""Files and packages that wait for a person."""

LOADERS = (
    "encodings.search_function",
    "mimetypes.init",
    "zoneinfo._common.load_tzdata",
    "zoneinfo._common.load_data",
    "re._compiler.compile",
    "sre_compile.compile",
    "ctypes.util.find_library",
    "uuid.getnode",
    "uuid._load_system_functions",
    "platform.*",
    "multiprocessing.resource_tracker.ensure_running",
    "multiprocessing.resource_tracker.ResourceTracker.*",
    "multiprocessing.forkserver.ensure_running",
    "offloop._lifecycle.*",
)
"""The standard library's functions that load or find something once and keep it."""


def exclusion(stall: Stall, warm_up: Iterable[str]) -> str | None:
    """Say why a stall is not the doing of its test; None when it is."""
    if any(_is_debugger(frame) for rows in stall.stacks for frame in rows):
        return "a debugger"
    if stall.cause == "gil" and stall.culprit is None:
        return "a thread that could not be told"
    return CAUSES.get(stall.cause) or _exclusion_by_stack(stall, (*LOADERS, *warm_up))


def _exclusion_by_stack(stall: Stall, loaders: Iterable[str]) -> str | None:
    stack, blamed = stall.stack, stall.frame
    if blamed is None or not stack:
        return "no code was seen"
    index = stack.index(blamed) if blamed in stack else 0
    upper = (*stack[:index], blamed)
    """From the newest frame down to the one to blame."""
    if any(frame.file.startswith("<frozen importlib") for frame in upper):
        return "an import"
    if any(_is_of(frame, TOOLS) for frame in upper):
        return "the test runner"
    for frame in _inside(stack):
        if why := _work_of_pytest(frame):
            return why
    if any(_matches(frame, pattern) for frame in upper for pattern in loaders):
        return "a load at first use"
    return None


def _is_debugger(frame: StackFrame) -> bool:
    path = frame.file.replace("\\", "/")
    name = path.rpartition("/")[2]
    if name in DEBUGGERS:
        return name == "pydevd.py" or places.is_library(frame.file)
    return any(f"/{package}/" in path for package in (*DEBUGGERS, "IPython", "pudb", "ipdb"))


def _is_of(frame: StackFrame, packages: Sequence[str]) -> bool:
    path = frame.file.replace("\\", "/")
    return places.is_library(frame.file) and any(
        f"/{package}/" in path or path.endswith(f"/{package}.py") for package in packages
    )


def _work_of_pytest(frame: StackFrame) -> str | None:
    """Say what pytest does in a frame, where it does something that may call the user's code."""
    path = frame.file.replace("\\", "/")
    if path.endswith("/_pytest/fixtures.py"):
        return "a fixture"
    return "the test runner" if any(name in path for name in WORKS) else None


def _inside(stack: Sequence[StackFrame]) -> Sequence[StackFrame]:
    """Keep the frames that the loop called: those before the first of asyncio's or pytest's."""
    for index, frame in enumerate(stack):
        path = frame.file.replace("\\", "/")
        if path.endswith(("/asyncio/events.py", "/asyncio/base_events.py", "/asyncio/runners.py")):
            return stack[:index]
        if path.endswith("/_pytest/python.py"):
            return stack[:index]
    return stack


def _matches(frame: StackFrame, pattern: str) -> bool:
    """Whether a frame is of ``module.function``, ``module.Class.function`` or ``module.*``."""
    module, _, function = pattern.rpartition(".")
    if function not in {"*", frame.function.rpartition(".")[2]}:
        return False
    stem = frame.file.replace("\\", "/").removesuffix(".py").removesuffix("/__init__")
    pieces = module.split(".")
    # A class is no part of a file's name: `module.Class` may be a module or a class in one.
    return any(
        stem.endswith("/" + "/".join(pieces[:length]))
        for length in range(len(pieces), max(len(pieces) - 2, 0), -1)
        if length == len(pieces) or pieces[length][:1].isupper()
    )


def key_of(stall: Stall, root: Path) -> str:
    """Name a finding so that it is the same after lines have moved: file, function, cause."""
    frame = stall.frame
    if frame is None:
        return f"?:?:{stall.cause}"
    cause = FAMILIES.get(stall.cause, stall.cause)
    return f"{place(frame.file, root)}:{frame.function}:{cause}"


def place(file: str, root: Path) -> str:
    """Name a file from the root of the project, or from the folder of the packages."""
    path = Path(file)
    for prefix in sorted(places.libraries(), key=len, reverse=True):
        if file.startswith(prefix):
            return file[len(prefix) :].replace(os.sep, "/")
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.name


def finding(stall: Stall, test: str, root: Path) -> Finding:
    """Write a stall down; its verdict is still open."""
    frame = stall.frame
    return Finding(
        test=test,
        key=key_of(stall, root),
        file=place(frame.file, root) if frame else "?",
        line=frame.line if frame else 0,
        function=frame.function if frame else "?",
        cause=stall.reason,
        seconds=round(stall.duration, 4),
        code=stall.code,
        mend=str(stall.mend) if stall.mend else "",
        stack=[(row.file, row.line, row.function) for row in _inside(stall.stack)[:40]],
        verdict="block",
        why="",
    )


def text_of(found: Finding, limit: float) -> str:
    """Tell a finding to the person whose test it fails; the first line says it all."""
    head = f"the event loop was blocked for {found['seconds']:.3f} s (limit {limit:g} s)"
    head += f": {found['code'] or found['function']} at {found['file']}:{found['line']}"
    lines = [head, f"  cause: {found['cause']}"]
    if found["mend"]:
        lines.append(f"  mend:  {found['mend']}")
    lines.append(f"  key:   {found['key']}")
    lines.append("The stack while it was blocked (most recent call last):")
    for file, line, function in reversed(found["stack"]):
        lines.append(f'  File "{file}", line {line}, in {function}')
        source = linecache.getline(file, line).strip()
        if source:
            lines.append(f"    {source}")
    return "\n".join(lines)


def awaited(code: str) -> str:
    """Put an ``await`` into a line that forgot it; an empty text where that is not one word."""
    try:
        [statement] = ast.parse(code).body
    except (SyntaxError, ValueError):
        return ""
    match statement:
        case ast.Expr(value=ast.Call() as call):
            return f"await {ast.unparse(call)}"
        case ast.Assign(value=ast.Call() as call):
            statement.value = ast.Await(call)
            return ast.unparse(statement)
        case _:
            return ""
