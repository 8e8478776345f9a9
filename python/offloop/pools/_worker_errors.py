"""What is said of a call that went wrong: which part does not travel, and what was raised where.

Loaded by `_worker` in a worker when it is needed, and as that is: by its path, without offloop. All
of it asks objects of users about themselves, so nothing they raise may get out of here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Namer = Callable[[Any], str]


def culprit(
    pack: Callable[[Any], object], value: Any, path: str, depth: int = 8
) -> tuple[str, Any]:
    """Find the innermost part of `value` that `pack` refuses, and the path to it."""
    for step, part in _parts(value) if depth else ():
        try:
            pack(part)
        except BaseException:  # noqa: BLE001 - whatever __reduce__ raises
            return culprit(pack, part, path + step, depth - 1)
    return path, value


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    try:
        if isinstance(value, dict):
            return [(f"[{shown(key, 40)}]", part) for key, part in list(value.items())[:1000]]
        if isinstance(value, (list, tuple)):
            return [(f"[{index}]", part) for index, part in enumerate(value[:1000])]
        if hasattr(value, "__dict__") and not isinstance(value, (type, type(culprit), type(sys))):
            return [(f".{name}", part) for name, part in list(vars(value).items())[:1000]]
    except BaseException:  # noqa: BLE001 - it does not show its parts
        return ()
    return ()


def shown(thing: Any, most: int = 500) -> str:
    """Give the repr of something, cut off."""
    try:
        return repr(thing)[:most]
    except BaseException:  # noqa: BLE001
        return "<its __repr__ fails>"


def said(error: BaseException, most: int = 500) -> str:
    """Give what an exception says, cut off."""
    try:
        return str(error)[:most]
    except BaseException:  # noqa: BLE001
        return "<its __str__ fails>"


def described(name: Namer, error: BaseException) -> str:
    """Give the type of an exception, and what it says."""
    return f"{name(type(error))}: {said(error, 1000)}"


def traceback_of(name: Namer, error: BaseException) -> str:
    """Give the traceback of an exception as text, without the frame of the worker."""
    import traceback

    try:
        trace = error.__traceback__
        shown = trace.tb_next if trace is not None else None
        return "".join(traceback.format_exception(type(error), error, shown))
    except BaseException:  # noqa: BLE001
        return described(name, error)
