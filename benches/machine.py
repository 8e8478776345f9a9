"""Facts about the machine and the software that were measured."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nginx

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "offloop",
    "ry",
    "wreq",
    "pyreqwest",
    "aiohttp",
    "httpx",
    "h2",
    "uvloop",
    "anyio",
)


@dataclass(frozen=True)
class Cores:
    """Where the processes are pinned: the client first, the server last, the spinner between."""

    client: int | None
    server: int | None
    spinner: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Share out the cores this process may use; None for each where pinning does not exist."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None, None)
        usable = sorted(os.sched_getaffinity(0))
        spinner = usable[-2] if len(usable) > 2 else usable[-1]
        return cls(usable[0], usable[-1], spinner)


def facts() -> dict[str, Any]:
    """Give what a reader needs to judge figures, and nothing that identifies the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "nginx": _nginx_version(),
        "packages": {**_packages(), "reqwest (Rust)": _locked_version("reqwest")},
        "commit": _commit(),
        "build": build(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def build() -> str | None:
    """Give the start of a hash of offloop's extension module: says which build was measured."""
    found = importlib.util.find_spec("offloop._offloop")
    if found is None or found.origin is None:
        return None
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()[:12]


def summary(known: dict[str, Any]) -> str:
    """Give the facts as a line or two of text."""
    packages = ", ".join(f"{name} {version}" for name, version in known["packages"].items())
    return (
        f"{known['cpu']}, {known['cores']} cores, {known['system']}, {known['python']}, "
        f"nginx {known['nginx']}. {packages}. Commit {known['commit']}, build {known['build']}, "
        f"{known['date']}, load {known['load_before']} before."
    )


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _nginx_version() -> str | None:
    with contextlib.suppress(OSError):
        command = [nginx.find_nginx(), "-v"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"nginx/(\S+)", answer.stderr)
        return found.group(1) if found else None
    return None


def _packages() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _locked_version(crate: str) -> str | None:
    with contextlib.suppress(OSError):
        locked = tomllib.loads((ROOT / "Cargo.lock").read_text())
        for package in locked["package"]:
            if package["name"] == crate:
                return str(package["version"])
    return None


def _commit() -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+changes"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        return answer.stdout.strip()
    return None
