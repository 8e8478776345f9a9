"""Declared functions and methods, for `test_declared`."""

from __future__ import annotations

import os
import threading

import offloop


def place() -> str:
    """Where this runs: the thread's name, or the process."""
    name = threading.current_thread().name
    return name if name.startswith("offloop") else f"process {os.getpid()}"


@offloop.offloaded(on="thread")
def here(number: int) -> tuple[str, int]:
    return place(), number


class Thing:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    @offloop.offloaded(on="thread")
    def times(self, number: int) -> tuple[str, int]:
        return place(), self.factor * number

    @offloop.offloaded(on="process")
    def far_times(self, number: int) -> tuple[str, int]:
        return place(), self.factor * number

    @offloop.offloaded(on="thread")
    @staticmethod
    def inner_static(number: int) -> tuple[str, int]:
        return place(), number

    @staticmethod
    @offloop.offloaded(on="thread")
    def outer_static(number: int) -> tuple[str, int]:
        return place(), number
