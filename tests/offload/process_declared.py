"""Functions declared to run in processes, as an application's module has them."""

from __future__ import annotations

import contextvars
import os
from typing import Any

import offloop

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


@offloop.offloaded(on="process", limit=2)
def where(value: int) -> tuple[int, int]:
    """In which process, and what was given."""
    return os.getpid(), value


@offloop.offloaded(kind="cpu")
def compute(value: int) -> int:
    return value * value


def read_variable() -> str:
    return variable.get()


async def nested() -> Any:
    return await offloop.to_process(os.getppid), os.getpid()


def run_nested() -> Any:
    import asyncio

    return asyncio.run(nested())
