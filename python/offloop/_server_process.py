"""A server of our own, in a process of its own, that never outlives the one that wants it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = 5.0
"""Seconds the process has to end once its stdin is closed."""


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[int]:
    """Run `module`, which prints its port and serves until its stdin closes; gives the port.

    The pipe closes with this process however it ends. Raises ChildProcessError when the server
    does not come up.
    """
    with subprocess.Popen(  # noqa: S603 - a module of our own
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C in a terminal goes to all processes of its session; this one has stdin for that.
        start_new_session=True,
    ) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else b""
            if not port.isdigit():
                message = f"{module} did not start"
                raise ChildProcessError(message)
            yield int(port)
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
