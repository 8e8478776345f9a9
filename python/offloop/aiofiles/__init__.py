"""aiofiles' interface on offloop's threads: change the import and nothing else.

A file is the real object of `io`, with its buffers, its text decoding and its errors. What the
buffers hold is handed out, and what they have room for is taken, without a thread; the rest is
one hop to a thread for each call.
"""

from offloop.aiofiles import os, tempfile
from offloop.aiofiles.threadpool import (
    open,  # noqa: A004 - aiofiles' own name for it
    stderr,
    stderr_bytes,
    stdin,
    stdin_bytes,
    stdout,
    stdout_bytes,
)

__all__ = [
    "open",
    "os",
    "stderr",
    "stderr_bytes",
    "stdin",
    "stdin_bytes",
    "stdout",
    "stdout_bytes",
    "tempfile",
]
