"""`offloop doctor`: what offloop finds on this machine, and what of it makes programs slow.

Each check runs for real (the runtime is started, awaits are timed) in a second or two, and opens
no connection but to the machine's own resolver, for ``localhost``. Nothing secret is shown:
proxies without their credentials, and of the environment only what offloop reads.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import socket
import ssl
import statistics
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from offloop import _offloop
from offloop.exceptions import OffloopError
from offloop.offload import run
from offloop.options import Limits

PEERS = ("uvloop", "httpx", "httpx2", "aiohttp", "aiofiles", "requests", "anyio", "dask")
_FEW_FILES = 4096
_SLOW_AWAIT = 500e-6
_SLOW_LOOKUP = 0.1
_AWAITS = 300
_VARIABLES = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "OFFLOOP_EXIT_GRACE", "OFFLOOP_DEBUG", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE",
)  # fmt: skip


@dataclass
class Report:
    """What was found: facts by section, and remarks, of which `broken` ones stop programs."""

    facts: dict[str, dict[str, str | int | float | None]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def examine() -> Report:
    """Run all checks; must not be called from a coroutine, for it runs an event loop."""
    report = Report()
    _versions(report)
    _machine(report)
    _environment(report)
    _roots(report)
    _fork(report)
    _runtime(report)
    return report


def _versions(report: Report) -> None:
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    facts = report.facts["versions"] = {
        "offloop": importlib.metadata.version("offloop"),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "free-threaded build": "yes" if free else "no",
        "platform": platform.platform(),
    }
    for peer in PEERS:
        try:
            facts[peer] = importlib.metadata.version(peer)
        except importlib.metadata.PackageNotFoundError:
            continue
    if free:
        report.remarks.append("free-threaded Python: importing offloop switches the GIL on again")
    if "uvloop" not in facts and sys.platform != "win32":
        report.remarks.append("uvloop is not installed: `pip install uvloop` speeds up the loop")


def _machine(report: Report) -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = Limits()
    facts = report.facts["limits"] = {
        "processors usable": usable,
        "connections of a client": limits.connections,
        "connections to a host": limits.per_host,
        "switch interval (s)": sys.getswitchinterval(),
    }
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        facts["open files"] = f"{soft} (at most {hard})"
        if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
            report.remarks.append(
                f"only {soft} files may be open at once, sockets included: `ulimit -n` raises it"
            )
    quota = _processor_quota()
    if quota is not None:
        facts["processor quota"] = quota
        if quota < 1:
            report.remarks.append(f"a container's quota gives this process {quota:g} processors")


def _processor_quota() -> float | None:
    """Processors that the control group allows, or None for all of them (Linux)."""
    try:
        share, _, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").partition(" ")
        return None if share == "max" else int(share) / int(period)
    except (OSError, ValueError):
        return None


def _environment(report: Report) -> None:
    facts = report.facts["environment"] = {}
    for name in _VARIABLES:
        value = os.environ.get(name) or os.environ.get(name.lower())
        if value:
            facts[name] = _without_secrets(value) if name.endswith("_PROXY") else value
    if any(name in facts for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")):
        report.remarks.append("requests go through a proxy; `trust_env=False` leaves it out")
    if "PYTHONASYNCIODEBUG" in facts or sys.flags.dev_mode:
        report.remarks.append("asyncio runs in debug mode, in which each await costs several times")


def _without_secrets(value: str) -> str:
    if "@" not in value:
        return value
    parts = urlsplit(value if "://" in value else f"//{value}")
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return f"{scheme}***@{parts.netloc.rpartition('@')[2]}"


def _roots(report: Report) -> None:
    given = os.environ.get("SSL_CERT_FILE")
    paths = ssl.get_default_verify_paths()
    file = given or paths.cafile
    folder = os.environ.get("SSL_CERT_DIR") or paths.capath
    found = 0
    if file:
        try:
            found = Path(file).read_bytes().count(b"BEGIN CERTIFICATE")
        except OSError as error:
            report.broken.append(f"SSL_CERT_FILE cannot be read: {error}")
    if not found and folder and Path(folder).is_dir():
        found = sum(1 for it in Path(folder).iterdir() if it.suffix in (".pem", ".crt", ".0"))
    report.facts["root certificates"] = {"file": file, "folder": folder, "found": found}
    if not found and sys.platform.startswith("linux"):
        report.remarks.append("no root certificates were found: https trusts offloop's own")


def _fork(report: Report) -> None:
    import multiprocessing

    method = multiprocessing.get_start_method(allow_none=True) or "not chosen yet"
    facts = report.facts["processes"] = {
        "pid": os.getpid(),
        "multiprocessing starts by": method,
        "offloop usable": "yes",
    }
    if method == "fork":
        report.remarks.append("multiprocessing forks: children cannot use offloop; use spawn")
    try:
        _offloop.fetch_stats()
    except OffloopError as error:
        facts["offloop usable"] = "no"
        report.broken.append(str(error))


def _runtime(report: Report) -> None:
    facts = report.facts["runtime"] = {}
    began = time.perf_counter()
    try:
        with socket.socket():
            socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
    except OSError as error:
        report.broken.append(f"localhost does not resolve: {error}")
    lookup = time.perf_counter() - began
    facts["look-up of localhost (ms)"] = round(lookup * 1e3, 2)
    if lookup > _SLOW_LOOKUP:
        report.remarks.append(f"the resolver takes {lookup:.2f} s for localhost: see resolv.conf")
    try:
        loop, away, thread, names = asyncio.run(_timed())
    except OffloopError as error:
        report.broken.append(f"the runtime does not start: {error}")
        return
    facts["event loop"] = loop
    facts["await of a Job (µs)"] = round(away * 1e6, 1)
    facts["await of a call in a thread (µs)"] = round(thread * 1e6, 1)
    facts["threads"] = names
    if away > _SLOW_AWAIT:
        report.remarks.append(
            f"an await takes {away * 1e6:.0f} µs: the machine is busy, or offloop a debug build"
        )


async def _timed() -> tuple[str, float, float, str]:
    kind = type(asyncio.get_running_loop())
    away, thread = [], []
    for _ in range(_AWAITS):
        began = time.perf_counter()
        await _offloop.sleep(0)
        between = time.perf_counter()
        await run(int)
        away.append(between - began)
        thread.append(time.perf_counter() - between)
    names = await run(_thread_names)
    loop = f"{kind.__module__}.{kind.__qualname__}"
    return loop, statistics.median(away), statistics.median(thread), names


def _thread_names() -> str:
    """Name the threads of this process that are offloop's, Rust's included (Linux)."""
    found: dict[str, int] = {}
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            name = task.read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it has ended
        if name.startswith("offloop"):
            found[name] = found.get(name, 0) + 1
    return ", ".join(f"{name} ({number})" for name, number in sorted(found.items())) or "unknown"


def show(report: Report) -> None:
    """Print it for a person."""
    for section, facts in report.facts.items():
        print(section)
        for name, value in facts.items():
            print(f"  {name:<34} {'none' if value is None else value}")
    print("findings")
    for text in report.broken:
        print(f"  broken: {text}")
    for text in report.remarks:
        print(f"  note: {text}")
    if not report.broken and not report.remarks:
        print("  nothing that would slow a program down")
