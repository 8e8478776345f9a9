"""Room for a thousand sockets: many systems allow a process 256 or 1,024 descriptors at first."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def room_for(descriptors: int) -> Iterator[None]:
    """Have the soft limit allow `descriptors`, or as many as the hard limit does.

    Child processes inherit it. Windows has no such limit, and there this does nothing.
    """
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = descriptors if hard == unlimited else min(descriptors, hard)
    if soft == unlimited or soft >= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
