"""Functions of `os.path` that look at the file system, each as one hop to a thread."""

from os import path
from typing import Any

from offloop.aiofiles.base import Wrapped, wrap

__all__ = [
    "abspath",
    "exists",
    "getatime",
    "getctime",
    "getmtime",
    "getsize",
    "isdir",
    "isfile",
    "islink",
    "ismount",
    "samefile",
    "sameopenfile",
]

abspath: Wrapped[Any] = wrap(path.abspath)
exists: Wrapped[bool] = wrap(path.exists)
getatime: Wrapped[float] = wrap(path.getatime)
getctime: Wrapped[float] = wrap(path.getctime)
getmtime: Wrapped[float] = wrap(path.getmtime)
getsize: Wrapped[int] = wrap(path.getsize)
isdir: Wrapped[bool] = wrap(path.isdir)
isfile: Wrapped[bool] = wrap(path.isfile)
islink: Wrapped[bool] = wrap(path.islink)
ismount: Wrapped[bool] = wrap(path.ismount)
samefile: Wrapped[bool] = wrap(path.samefile)
sameopenfile: Wrapped[bool] = wrap(path.sameopenfile)
