"""Runs snippets under a watch, and prints what was found as JSON lines.

``python snippet_runner.py asyncio|uvloop blocking|clean [name …]``
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import clean_snippets
import snippets

import offloop


async def found(function):
    """Run one snippet; gives its stalls, and when they were told."""
    told = []
    with offloop.watch(
        threshold=snippets.THRESHOLD, on_stall=lambda stall: told.append((stall, stall.ended))
    ):
        await snippets.breathe()
        cpu = time.process_time()
        began = time.monotonic()
        await function()
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        await snippets.breathe()
    return told, took, cpu


def main(loop, kind, *names):
    factory = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    table = snippets.BLOCKING if kind == "blocking" else clean_snippets.CLEAN
    for name in names or table:
        function = table[name][0] if kind == "blocking" else table[name]
        with asyncio.Runner(loop_factory=factory) as runner:
            told, took, cpu = runner.run(found(function))
        stalls = [
            {
                "file": stall.file,
                "line": stall.line,
                "cause": stall.cause,
                "reason": stall.reason,
                "duration": stall.duration,
                "elapsed": stall.elapsed,
                "named_after": stall.named_after,
                "detected_after": stall.detected_after,
                "call": stall.call,
                "mend": str(stall.mend),
                "stack": [str(frame) for frame in stall.stack[:6]],
            }
            for stall, _ in told
        ]
        print(json.dumps({"name": name, "took": took, "cpu": cpu, "stalls": stalls}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
