"""The same function in a thread, in a process, and killed in a process that is stuck.

usage: python choose_a_place.py
"""

import asyncio
import os
import threading
import time

import offloop


def where() -> str:
    """Tell where this runs."""
    return f"process {os.getpid()}, {threading.current_thread().name}"


@offloop.offloaded(kind="cpu", limit=2)
def count_primes(below: int) -> int:
    """Compute in Python: a thread would only take turns with the loop."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


async def main() -> None:
    """Run here and there, and end what does not end by itself."""
    here = os.getpid()
    print("run:        the same process:", f"process {here}," in await offloop.run(where))
    print("to_process: the same process:", f"process {here}," in await offloop.to_process(where))
    print(offloop.explain(count_primes))
    print("primes below 20,000:", await count_primes(20_000))

    risky = offloop.Pool("risky", on="process", limit=1)
    try:
        await risky.view(timeout=0.5).run(time.sleep, 3600)
    except offloop.JobTimeout:
        print("the stuck call is over, and so is its process")
    print("the pool goes on:", await risky.run(abs, -1))
    risky.close()


if __name__ == "__main__":  # a worker process imports this file
    asyncio.run(main())
