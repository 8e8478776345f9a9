"""What options and ini file ask for; what does not make sense is a `pytest.UsageError`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

OFF = frozenset({"off", "no", "false", "0"})
_LIMIT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's settings."""

    limit: float | None
    """Seconds that a loop may be blocked; None: loops are not watched."""
    fails: bool
    """Whether a block fails its test."""
    baseline: Path | None
    writes_baseline: bool
    forgotten: Literal["report", "fail"] | None
    """What becomes of what was never awaited; None: nothing is collected."""
    warm_up: tuple[str, ...]
    """Functions of the user's that load once."""


def read(config: pytest.Config) -> Settings | None:
    """Read options and ini file; None when they come to nothing."""
    option: Any = config.option
    on_block, watch = option.offloop_fail_on_block, option.offloop_watch
    if on_block is None and watch is None:
        on_block, watch = config.getini("offloop_fail_on_block"), config.getini("offloop_watch")
    failing = limit("--offloop-fail-on-block", on_block)
    reporting = limit("--offloop-watch", watch)
    chosen = failing or reporting
    if option.offloop_write_baseline and chosen is None:
        chosen = limit("--offloop-fail-on-block", "50ms")
    if option.offloop_baseline and chosen is None:
        raise pytest.UsageError(
            "--offloop-baseline needs --offloop-fail-on-block or --offloop-watch"
        )
    fails_forgotten = option.offloop_fail_on_forgotten or config.getini("offloop_fail_on_forgotten")
    forgotten: Literal["report", "fail"] | None = None
    if fails_forgotten:
        forgotten = "report" if option.offloop_watch and failing is None else "fail"
    elif reporting is not None:
        forgotten = "report"
    if chosen is None and forgotten is None:
        return None
    baseline = _baseline(config)
    if option.offloop_write_baseline and baseline is None:
        raise pytest.UsageError(
            "--offloop-write-baseline needs a file: --offloop-baseline=FILE, or offloop_baseline "
            "in the ini file"
        )
    return Settings(
        limit=chosen,
        fails=failing is not None and not option.offloop_write_baseline,
        baseline=baseline,
        writes_baseline=option.offloop_write_baseline,
        forgotten=forgotten,
        warm_up=tuple(config.getini("offloop_warm_up") or ()),
    )


def limit(what: str, text: str | None) -> float | None:
    """Seconds of a limit like ``50ms`` or ``0.2s``; None for none, and for ``off``.

    Raises `pytest.UsageError` for anything else.
    """
    if text is None or not text.strip() or text.strip().lower() in OFF:
        return None
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise pytest.UsageError(
            f"{what}: {text!r} is no limit; write a number and its unit, as in 50ms or 0.2s"
        )
    seconds = float(found[1]) * (1e-3 if found[2].lower() == "ms" else 1.0)
    if not 0 < seconds < 1e6 or not math.isfinite(seconds):  # noqa: PLR2004 - eleven days
        raise pytest.UsageError(f"{what}: {text!r} is out of range")
    return seconds


def _baseline(config: pytest.Config) -> Path | None:
    given = config.option.offloop_baseline
    if given:
        return Path(config.invocation_params.dir, given)
    written = config.getini("offloop_baseline")
    if written:
        folder = config.inipath.parent if config.inipath is not None else config.rootpath
        return Path(folder, written)
    return None


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a marker `blocking_ok` allows."""

    most: float | None
    """Seconds; None for any time."""
    reason: str


def allowed(item: pytest.Item) -> Allowed | None:
    """Read the closest marker `blocking_ok`.

    Raises `pytest.UsageError` when it is not written as it should be.
    """
    marker = item.get_closest_marker("blocking_ok")
    if marker is None:
        return None
    given: dict[str, Any] = dict(zip(("reason", "max"), marker.args, strict=False))
    given.update(marker.kwargs)
    if len(marker.args) > 2 or given.keys() - {"reason", "max"}:  # noqa: PLR2004 - the two
        raise pytest.UsageError(f"{item.nodeid}: blocking_ok takes reason and max")
    most, reason = given.get("max"), given.get("reason") or ""
    what = f"{item.nodeid}: blocking_ok(max=...)"
    if isinstance(most, str):
        seconds = limit(what, most)
        if seconds is None:
            raise pytest.UsageError(f"{what}: {most!r} is no limit")
        return Allowed(seconds, str(reason))
    if most is None:
        return Allowed(None, str(reason))
    if isinstance(most, bool) or not isinstance(most, int | float) or not 0 < most < math.inf:
        raise pytest.UsageError(f"{what}: {most!r} is no number of seconds")
    return Allowed(float(most), str(reason))
