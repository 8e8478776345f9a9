"""What to write instead of a call that blocks: `mends` is the table, this finds the row.

`call_at` runs in a look, that is with the GIL and while the frame lives: it reads the one
expression that is being evaluated and names what is called, without calling anything: attributes
are looked up statically, but for modules.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import itertools
import linecache
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from offloop._watch import mends, places

if TYPE_CHECKING:
    from types import FrameType

    from offloop._watch.stall import Stall

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is under way: what it is named by, best name first, and its source."""

    names: tuple[str, ...]
    source: str
    """The expression, or an empty text."""

    @property
    def name(self) -> str | None:
        """What is called."""
        return self.names[0] if self.names else None


@dataclass(frozen=True, slots=True)
class Mend:
    """What to write instead."""

    code: str
    """The line to write."""
    entry: str
    """The kind of call it mends."""

    def __str__(self) -> str:
        return self.code


def of(stall: Stall) -> Mend | None:
    """Find the mend for a stall."""
    if stall.cause == "paused":
        return None
    call = stall._call
    if call is not None and stall.cause not in {"gc", "callbacks", "gil", "import"}:
        for name in call.names:
            row = row_of(name)
            if row is not None:
                return Mend(_fill(row.code, call, name), row.entry)
    row = mends.BY_CAUSE.get(stall.cause)
    if row is None:
        return None
    named = (frame.function for frame in stall.stack if not frame.function.startswith("<"))
    if stall.cause == "gil":
        named = (name for name in [_culprit(stall)] if name)
    return Mend(row.code.replace("{function}", next(named, "...")), row.entry)


def _culprit(stall: Stall) -> str | None:
    """Name the function that holds the GIL in another thread."""
    return stall.culprit_job or (stall.function if stall.culprit else None)


@lru_cache(maxsize=1024)
def row_of(name: str) -> mends.Row | None:
    """Find the row of the table for a qualified name."""
    for row in mends.TABLE:
        if any(_matches(name, pattern) for pattern in row.names):
            return row
    return None


def _matches(name: str, pattern: str) -> bool:
    head, star, tail = pattern.partition("*")
    if not star:
        return name == pattern
    return name.startswith(head) and (not tail or tail.rstrip("*") in name[len(head) :])


def call_at(frame: FrameType) -> Call:
    """Name what is called at the newest line of the user's, or at the newest of all."""
    newest: FrameType | None = frame
    above: list[FrameType] = []
    while newest is not None and places.is_library(newest.f_code.co_filename):
        above.append(newest)
        newest = newest.f_back
    if newest is None:
        return Call((), "")
    node, source = _expression(newest)
    names = [_frame_name(each) for each in reversed(above)]
    if isinstance(node, ast.Call):
        direct = _name(_resolve(node.func, newest))
        if direct:
            names.insert(0, direct)
    elif node is not None and not above:
        held = _resolve(node, newest)
        if held is not _MISSING:
            names.insert(0, f"{_type_name(held)}.__enter__")
    return Call(tuple(dict.fromkeys(name for name in names if name)), source)


def _frame_name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"


def _expression(frame: FrameType) -> tuple[ast.expr | None, str]:
    """Parse the expression at which `frame` stands: the one and no more, so it is quick."""
    positions = itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
    line, end_line, column, end_column = next(positions, (None, None, None, None))
    if line is None or end_line is None or column is None or end_column is None:
        return None, ""
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)[line - 1 : end_line]
    if not lines or end_line - line > 40:  # noqa: PLR2004 - nobody reads more
        return None, ""
    pieces = [text.encode() for text in lines]
    pieces[-1] = pieces[-1][:end_column]
    pieces[0] = pieces[0][column:]
    source = b"".join(pieces).decode(errors="replace")
    try:
        node = ast.parse(f"({source})", mode="eval").body
    except (SyntaxError, ValueError):
        return None, ""
    return (node.value if isinstance(node, ast.Await) else node), source


def _resolve(node: ast.expr, frame: FrameType) -> Any:
    """Find the object that `node` names, without running code of the user's."""
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals, vars(builtins)):
            if node.id in names:
                return names[node.id]
    elif isinstance(node, ast.Attribute):
        owner = _resolve(node.value, frame)
        if owner is _MISSING:
            return _MISSING
        if isinstance(owner, ModuleType):
            return vars(owner).get(node.attr, _MISSING)
        return _Member(owner, node.attr)
    elif isinstance(node, ast.Call):
        # What a constructor or `open` gives can be told by its name.
        made = _resolve(node.func, frame)
        if isinstance(made, type):
            return _Instance(made)
    return _MISSING


@dataclass(frozen=True, slots=True)
class _Member:
    """A method, not looked up: its owner may have code for that."""

    owner: Any
    name: str


@dataclass(frozen=True, slots=True)
class _Instance:
    """Something of this class."""

    kind: type


def _type_name(value: Any) -> str:
    kind = value.kind if isinstance(value, _Instance) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _name(value: Any) -> str | None:
    """Give the qualified name of what is called."""
    if value is _MISSING:
        return None
    if isinstance(value, _Member):
        return _member_name(value)
    if isinstance(value, type) or inspect.isroutine(value):
        module = getattr(value, "__module__", None)
        owner = getattr(value, "__self__", None)
        if module is None and owner is not None and not isinstance(owner, ModuleType):
            return f"{_type_name(owner)}.{value.__name__}"
        return f"{module or 'builtins'}.{getattr(value, '__qualname__', value)}"
    return f"{_type_name(value)}.__call__"


def _member_name(member: _Member) -> str | None:
    owner = member.owner
    if isinstance(owner, _Member):
        return None
    kind = owner if isinstance(owner, type) else type(owner)
    if isinstance(owner, _Instance):
        kind = owner.kind
    # The class that has it: a subclass of the user's may be called anything.
    base = next((base for base in kind.__mro__ if member.name in vars(base)), kind)
    return f"{base.__module__}.{base.__qualname__}.{member.name}"


def _fill(code: str, call: Call, name: str) -> str:
    """Put what the call was given into a mend."""
    function, arguments, first, owner = "...", "...", "...", "..."
    try:
        node = ast.parse(f"({call.source})", mode="eval").body if call.source else None
    except SyntaxError:
        node = None
    if isinstance(node, ast.Call):
        function = ast.unparse(node.func)
        given = [ast.unparse(it) for it in node.args]
        keywords = [
            f"{it.arg}={ast.unparse(it.value)}" if it.arg else f"**{ast.unparse(it.value)}"
            for it in node.keywords
        ]
        arguments = ", ".join([*given, *keywords])
        first = given[0] if given else "..."
        if isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
    filled = code
    for field, text in (
        ("{args}", arguments),
        ("{func}", function),
        ("{first}", first),
        ("{object}", owner),
        ("{verb}", name.rpartition(".")[2]),
    ):
        filled = filled.replace(field, text)
    return filled.replace(", )", ")")
