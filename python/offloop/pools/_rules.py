"""Where a function runs that does not say so: by rule, from what was declared of it."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Literal

PlaceName = Literal["thread", "process", "interpreter", "inline", "dask", "cpu"]
"""`cpu` is what a rule chooses: an interpreter, or a process for what cannot run in one."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A place, and why it was chosen."""

    place: PlaceName
    reason: str


def resolve(on: str, kind: str | None) -> Choice:
    """Choose a place for `on` and `kind`; ValueError for what is neither."""
    if on not in ("auto", "thread", "process", "interpreter", "inline", "dask", "cpu"):
        raise ValueError(
            "on must be 'auto', 'thread', 'process', 'interpreter', 'inline', 'dask' or an "
            f"executor, not {on!r}"
        )
    if kind not in (None, "cpu", "io", "nogil"):
        raise ValueError(f"kind must be 'cpu', 'io' or 'nogil', not {kind!r}")
    forced = os.environ.get("OFFLOOP_FORCE")
    if forced == "inline":
        return Choice("inline", "OFFLOOP_FORCE=inline")
    if forced == "thread" and on != "inline":
        return Choice("thread", "OFFLOOP_FORCE=thread")
    if on == "auto":
        return _by_kind(kind)
    return Choice(on, f"on={on!r}")  # type: ignore[arg-type]


def _by_kind(kind: str | None) -> Choice:
    if kind is None:
        return Choice("thread", "nothing was declared: a thread is right for what blocks")
    if kind == "io":
        return Choice("thread", "kind='io' blocks without the GIL")
    if kind == "nogil":
        return Choice("thread", "kind='nogil' computes without the GIL")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return Choice("thread", "kind='cpu', and this Python has no GIL")
    if sys.version_info >= (3, 14):
        return Choice("cpu", "kind='cpu': an interpreter has a GIL of its own")
    return Choice("process", "kind='cpu': a process has a GIL of its own")
