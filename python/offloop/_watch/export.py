"""What a watch has found as files for other programs: JSON Lines, SARIF 2.1.0, a trace.

The trace is what chrome://tracing and https://ui.perfetto.dev open, in the format "Trace Event";
SARIF is what code hosts show beside the lines of a change. Both are described by their makers:
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offloop._watch.stall import CAUSES
from offloop._watch.summary import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from offloop._watch.facts import WatchReport
    from offloop._watch.findings import Findings
    from offloop._watch.stall import StackFrame, Stall
    from offloop._watch.summary import Place

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def lines(stalls: Sequence[Stall]) -> str:
    """Make one line of JSON for each stall, with the fields of `Stall.as_dict`."""
    return "".join(f"{json.dumps(stall.as_dict(), ensure_ascii=False)}\n" for stall in stalls)


def sarif(found: Findings) -> str:
    """Make a SARIF log: one result for each place that blocks, with a stack."""
    blamed = [place for place in places(found.stalls) if place.cause != "paused"]
    causes = sorted({place.cause for place in blamed})
    driver = {
        "name": "offloop watch",
        "semanticVersion": found.version,
        "rules": [
            {
                "id": _rule(cause),
                "name": "".join(word.title() for word in cause.split("_")),
                "shortDescription": {"text": f"The event loop is blocked: {CAUSES[cause]}."},
                "defaultConfiguration": {"level": "warning"},
            }
            for cause in causes
        ],
    }
    root = Path.cwd().as_uri() + "/"
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {"SRCROOT": {"uri": root}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(place, causes.index(place.cause)) for place in blamed],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _rule(cause: str) -> str:
    return f"blocking/{cause}"


def _result(place: Place, rule: int) -> dict[str, Any]:
    worst = place.worst
    text = f"The event loop is blocked for {place.longest:.3f} s: {worst.reason}."
    if worst.code:
        text += f" `{worst.code}`"
    if worst.mend is not None:
        text += f" Instead: `{worst.mend.code}`"
    mark = hashlib.sha256(f"{_relative(place.file)}\0{worst.code}\0{place.cause}".encode())
    result: dict[str, Any] = {
        "ruleId": _rule(place.cause),
        "ruleIndex": rule,
        "level": "warning",
        "message": {"text": text},
        "occurrenceCount": place.count,
        "partialFingerprints": {"place/v1": mark.hexdigest()[:32]},
        "properties": {"seconds": round(place.total, 6), "longest": round(place.longest, 6)},
    }
    if worst.frame is not None:
        result["locations"] = [_location(worst.frame)]
    if worst.stack:
        frames = [{"location": _location(frame)} for frame in worst.stack]
        result["stacks"] = [{"message": {"text": "The loop's thread"}, "frames": frames}]
    return result


def _location(frame: StackFrame) -> dict[str, Any]:
    artifact: dict[str, str] = {"uri": _relative(frame.file)}
    if ":" not in artifact["uri"]:
        artifact["uriBaseId"] = "SRCROOT"
    physical: dict[str, Any] = {"artifactLocation": artifact}
    if frame.line > 0:
        physical["region"] = {"startLine": frame.line}
    return {
        "physicalLocation": physical,
        "logicalLocations": [{"name": frame.function, "kind": "function"}],
    }


def _relative(file: str | None) -> str:
    """Give the URI of a file: relative below the present folder, else absolute."""
    from urllib.parse import quote

    if not file or file.startswith("<"):
        return quote(file or "unknown")
    path = Path(file).absolute()
    try:
        return quote(path.relative_to(Path.cwd()).as_posix())
    except ValueError:
        return path.as_uri()


def trace(found: Findings) -> str:
    """Make a trace: loops with their stalls, Jobs by lane, and how busy all of them were."""
    events = [*_process(found), *_loops(found), *_jobs(found.report), *_pauses(found.report)]
    other = {"offloop": found.version, "program": found.program, "began": found.began}
    return json.dumps(
        {"traceEvents": events, "displayTimeUnit": "ms", "otherData": other}, ensure_ascii=False
    )


def _process(found: Findings) -> Iterator[dict[str, Any]]:
    yield _named("process_name", 0, f"{found.program} (pid {found.pid})")


def _named(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": 1, "tid": thread, "ts": 0, "args": {"name": name}}


def _loops(found: Findings) -> Iterator[dict[str, Any]]:
    for key, began, _, width, busy in found.report["loops"]:
        name = found.names.get(key, "loop")
        yield _named("thread_name", key, name)
        for index, spent in enumerate(busy):
            at = (began + index * width) / 1e3
            share = round(spent / width * 100, 1)
            yield {
                "ph": "C",
                "name": f"busy % of {name} {key}",
                "pid": 1,
                "tid": 0,
                "ts": at,
                "args": {"%": share},
            }
    for stall in found.stalls:
        record = stall._record
        until = record.ended if record.ended is not None else found.now
        yield {
            "ph": "X",
            "name": stall.code or stall.reason,
            "cat": f"stall,{stall.cause}",
            "pid": 1,
            "tid": record.key,
            "ts": record.began / 1e3,
            "dur": max(until - record.began, 0) / 1e3,
            "args": {
                "cause": stall.reason,
                "where": str(stall.frame) if stall.frame else None,
                "mend": str(stall.mend) if stall.mend else None,
                "task": stall.task,
                "stack": [str(frame) for frame in stall.stack],
            },
        }


_FIRST_LANE = 1_000_000
"""Lanes are threads of the trace; their numbers must not be those of loops."""


def _jobs(report: WatchReport) -> Iterator[dict[str, Any]]:
    for lane, (name, *_, began, width, under_way) in enumerate(report["lanes"]):
        yield _named("thread_name", _FIRST_LANE + lane, name)
        for index, spent in enumerate(under_way):
            yield {
                "ph": "C",
                "name": f"{name} under way",
                "pid": 1,
                "tid": 0,
                "ts": (began + index * width) / 1e3,
                "args": {"jobs": round(spent / width, 3)},
            }
    for number, (lane, title, started, begun, done, landed, end, worker) in enumerate(
        report["jobs"]
    ):
        common = {
            "cat": report["lanes"][lane][0],
            "id": number,
            "pid": 1,
            "tid": _FIRST_LANE + lane,
            "name": title,
        }
        arguments = {
            "queued_ms": (begun - started) / 1e6,
            "waited_for_loop_ms": (landed - done) / 1e6,
            "end": end,
            "worker": worker or None,
        }
        # Jobs overlap, which the slices of one thread must not: asynchronous ones may.
        yield {"ph": "b", **common, "ts": started / 1e3, "args": arguments}
        yield {"ph": "e", **common, "ts": landed / 1e3}


def _pauses(report: WatchReport) -> Iterator[dict[str, Any]]:
    for ended, lasted in report["pauses"]:
        yield {
            "ph": "X",
            "name": "the process did not run",
            "cat": "pause",
            "pid": 1,
            "tid": 0,
            "ts": (ended - lasted) / 1e3,
            "dur": lasted / 1e3,
        }


def write(path: str | os.PathLike[str], text: str) -> Path:
    """Write a file as a whole, or not at all."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
