"""The section `watch`: what the watchdog costs those it watches, and how soon it finds a block."""

from __future__ import annotations

import functools

import nginx
from plan import Plan, Section, core_argument
from processes import Notes, alternate, medians, run_worker
from tables import Table, count, decimal

COLUMNS = ["case", "unit", "unwatched", "watched", "watched/unwatched"]

DETECTION = {"sleep": "time.sleep", "native": "C that keeps the GIL"}
LATENESS = {
    "median_ms": "median",
    "longest_ms": "longest",
    "longest_without_waits_ms": "longest, without the watchdog's own waits for a processor",
}


def watch(plan: Plan) -> Section:
    """Measure both sides in turns within a process, the server on another core."""
    notes = Notes()
    core = core_argument(plan.cores.client)
    turns, seconds = ("4", "0.5") if plan.quick else ("20", "1")
    with nginx.serve(plan.cores.server) as server:
        url = f"{server.http}/1k"
        contenders = {
            "fetch": functools.partial(
                run_worker,
                *("watch_worker.py", "fetch", url, core, turns, seconds),
                name="watch fetch",
                notes=notes,
            ),
            "idle": functools.partial(
                run_worker, *("watch_worker.py", "idle", core, "5"), name="watch idle", notes=notes
            ),
            **{
                f"detection, {kind}": functools.partial(
                    run_worker,
                    *("watch_worker.py", "detection", kind, "20" if plan.quick else "100"),
                    name=f"watch detection {kind}",
                    notes=notes,
                )
                for kind in DETECTION
            },
        }
        samples = alternate(contenders, plan.rounds, notes, "watch")
    rows = []
    if "fetch" in samples:
        middle = medians(samples["fetch"])
        cpu = [decimal(middle[f"{side}.cpu_us"]) for side in ("off", "on")]
        rate = [count(middle[f"{side}.rate"]) for side in ("off", "on")]
        share = decimal(middle["on.rate"] / middle["off.rate"], 3)
        rows.append(["fetch of 1 KiB, CPU", "µs", *cpu, decimal(middle["ratio"], 3)])
        rows.append(["fetch of 1 KiB", "per s", *rate, share])
    if "idle" in samples:
        middle = medians(samples["idle"])
        woken = [decimal(middle[f"{side}.switches"], 0) for side in ("off", "on")]
        used = [decimal(middle[f"{side}.cpu_share"] * 100, 2) for side in ("off", "on")]
        rows.append(["idle loop for 5 s, its thread woken", "times", *woken, "-"])
        rows.append(["idle loop, CPU of the process", "%", *used, "-"])
    for kind, title in DETECTION.items():
        if f"detection, {kind}" not in samples:
            continue
        middle = medians(samples[f"detection, {kind}"])
        for name, what in LATENESS.items():
            alone = middle.get(f"control.{name}")
            control = "-" if alone is None else decimal(alone, 1)
            rows.append([f"{title}: found, {what}", "ms", control, decimal(middle[name], 1), "-"])
    notes.add(
        "Found: after the threshold of 100 ms, to be within 20 ms. Beside it, as `unwatched`, how "
        "late a process wakes that sleeps as long at the same time."
    )
    title = "watch: what the watchdog costs those it watches"
    return Section(Table(title, COLUMNS, 1, rows), {"all": samples}, notes)
