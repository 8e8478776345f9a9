"""Find the line that blocks the loop, while it blocks, and what to write instead.

usage: python find_blocking_line.py
"""

# ruff: noqa: ASYNC251 - the mistake that is shown here

import asyncio
import json
import time

import offloop


async def handler() -> None:
    """Sleep the wrong way, and then compute on the loop's thread."""
    await asyncio.sleep(0.05)
    time.sleep(0.3)
    await asyncio.sleep(0.05)
    json.loads(json.dumps(list(range(1_500_000))))
    await asyncio.sleep(0.05)


def main() -> None:
    """Watch whatever loop is run inside the block."""
    with offloop.watch(threshold=0.1) as health:
        asyncio.run(handler())
    for stall in health.stalls:
        mend = f", better: {stall.mend.code}" if stall.mend else ""
        print(f"line {stall.line} blocked for {stall.duration:.1f} s: {stall.code}{mend}")


if __name__ == "__main__":
    main()
