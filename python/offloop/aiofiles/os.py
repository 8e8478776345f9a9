"""Functions of `os` that block, each as one hop to a thread."""

import os
from typing import Any

from offloop.aiofiles import ospath as path
from offloop.aiofiles.base import Wrapped, wrap

__all__ = [
    "access",
    "getcwd",
    "listdir",
    "makedirs",
    "mkdir",
    "path",
    "readlink",
    "remove",
    "removedirs",
    "rename",
    "renames",
    "replace",
    "rmdir",
    "scandir",
    "stat",
    "symlink",
    "unlink",
    "wrap",
]

access: Wrapped[bool] = wrap(os.access)
getcwd: Wrapped[str] = wrap(os.getcwd)
listdir: Wrapped[list[Any]] = wrap(os.listdir)
makedirs: Wrapped[None] = wrap(os.makedirs)
mkdir: Wrapped[None] = wrap(os.mkdir)
readlink: Wrapped[Any] = wrap(os.readlink)
remove: Wrapped[None] = wrap(os.remove)
removedirs: Wrapped[None] = wrap(os.removedirs)
rename: Wrapped[None] = wrap(os.rename)
renames: Wrapped[None] = wrap(os.renames)
replace: Wrapped[None] = wrap(os.replace)
rmdir: Wrapped[None] = wrap(os.rmdir)
scandir: Wrapped[Any] = wrap(os.scandir)
stat: Wrapped[os.stat_result] = wrap(os.stat)
symlink: Wrapped[None] = wrap(os.symlink)
unlink: Wrapped[None] = wrap(os.unlink)

if hasattr(os, "link"):
    __all__ += ["link"]
    link: Wrapped[None] = wrap(os.link)
if hasattr(os, "sendfile"):
    __all__ += ["sendfile"]
    sendfile: Wrapped[int] = wrap(os.sendfile)
if hasattr(os, "statvfs"):
    __all__ += ["statvfs"]
    statvfs: Wrapped[os.statvfs_result] = wrap(os.statvfs)
