"""Which files are the user's own: what is neither the standard library's nor installed."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offloop._watch.look import Row


@functools.cache
def libraries() -> tuple[str, ...]:
    """Folders of the standard library, of installed packages, and of offloop; with a slash."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages() if hasattr(site, "getsitepackages") else [])
    found.add(site.getusersitepackages())
    found.add(str(Path(__file__).parent.parent))
    found.add(str(Path(sys.base_prefix, "lib", f"python{sys.version_info[0]}", "dist-packages")))
    resolved = {str(Path(path).resolve()) for path in found}
    return tuple(sorted(f"{path.rstrip('/')}/" for path in found | resolved if path))


def is_library(file: str) -> bool:
    """Whether a file is not the user's own."""
    return file.startswith(("<frozen ", *libraries()))


def own(stack: Sequence[Row]) -> Row | None:
    """Find the newest frame of the user's own."""
    return next((row for row in stack if not is_library(row[0])), None)
