"""The file of blocks that are known, so that a project can begin today and mend later.

JSON, sorted, without lines and without times that change with every run: it is kept in the
project's repository, and its differences are to be read.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from offloop.testing._pytest.settings import Settings
    from offloop.testing._pytest.verdict import Finding

VERSION = 1


@dataclass(slots=True)
class Baseline:
    """What is known."""

    path: Path | None = None
    keys: frozenset[str] = frozenset()
    seen: set[str] = field(default_factory=set)
    """Those that this run has seen again."""

    @classmethod
    def of(cls, settings: Settings) -> Baseline:
        """Read the file, unless it is to be written.

        Raises `pytest.UsageError` when there is none, or it is no baseline.
        """
        if settings.baseline is None or settings.writes_baseline:
            return cls(settings.baseline)
        try:
            text = settings.baseline.read_text(encoding="utf-8")
        except OSError as error:
            raise pytest.UsageError(
                f"the baseline {settings.baseline} cannot be read ({error.strerror}); "
                "--offloop-write-baseline makes one"
            ) from None
        try:
            content = json.loads(text)
            version, blocks = content["version"], content["blocks"]
            keys = frozenset(str(key) for key in blocks)
        except (ValueError, KeyError, TypeError):
            raise pytest.UsageError(f"{settings.baseline} is no baseline of offloop's") from None
        if version != VERSION:
            raise pytest.UsageError(
                f"{settings.baseline} is a baseline of version {version!r}; this offloop reads "
                f"version {VERSION}: write it again with --offloop-write-baseline"
            )
        return cls(settings.baseline, keys)

    def knows(self, key: str) -> bool:
        """Whether a block is known."""
        return key in self.keys

    @property
    def gone(self) -> list[str]:
        """What is known and was not seen in this run."""
        return sorted(self.keys - self.seen)


def write(path: Path, findings: Iterable[Finding]) -> int:
    """Replace the file with what was found, whole or not at all; gives how many keys it has."""
    blocks: dict[str, dict[str, str]] = {}
    for found in findings:
        blocks.setdefault(found["key"], {"code": found["code"], "mend": found["mend"]})
    content = {"version": VERSION, "blocks": dict(sorted(blocks.items()))}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return len(blocks)
