"""A module that other interpreters cannot import, as many extensions cannot."""

from __future__ import annotations

import importlib.util

FACTOR = 2

if importlib.util.find_spec("concurrent.interpreters"):
    from concurrent import interpreters

    if interpreters.get_current() != interpreters.get_main():
        raise ImportError("module refusing does not support loading in subinterpreters")


def double(value: int) -> int:
    """Needs a global, so it can only go by the name of its module."""
    return value * FACTOR


class Held:
    """An argument of this class takes the module along."""
