"""Pools beside what else is there: anyio, Starlette, FastAPI, executors of loops, tracers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import offloop
from conftest import Run


def test_a_call_in_an_anyio_program_on_asyncio() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> tuple[int, bool]:
        got = []
        async with anyio.create_task_group() as group:

            async def work() -> None:
                got.append(await offloop.run(pow, 2, 3))

            group.start_soon(work)
        with anyio.move_on_after(0.05) as scope:
            await offloop.Pool(limit=1).view(on_cancel="abandon").run(threading.Event().wait, 1)
        return got[0], scope.cancelled_caught

    assert anyio.run(main) == (8, True)


def test_the_threads_of_anyio_and_a_pool_know_nothing_of_each_other() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> Any:
        return await anyio.to_thread.run_sync(lambda: offloop.submit(int, "5").result(10))

    assert anyio.run(main) == 5


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_an_application_offloads_and_streams_from_a_blocking_generator(framework: str) -> None:
    pytest.importorskip(framework)
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    from offloop.testing import asgi_client

    pool = offloop.Pool("app", limit=2)

    def rows() -> Iterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    async def answer(request: Any) -> Any:
        return JSONResponse(await pool.run(sum, [1, 2, 3]))

    async def stream(request: Any) -> Any:
        return StreamingResponse(pool.iterate(rows()))

    app: Any
    if framework == "starlette":
        app = Starlette(routes=[Route("/sum", answer), Route("/rows", stream)])
    else:
        from fastapi import FastAPI

        app = FastAPI()
        app.add_route("/sum", answer)
        app.add_route("/rows", stream)

    async def main() -> None:
        async with asgi_client(app) as client:
            assert (await client.get("/sum")).json() == 6
            assert (await client.get("/rows")).text.split() == [str(n) for n in range(1000)]

    asyncio.run(main())


def test_ray_is_an_executor_like_others() -> None:
    ray = pytest.importorskip("ray")
    import concurrent.futures

    class RayExecutor(concurrent.futures.Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            return ray.remote(fn).remote(*args, **kwargs).future()

    ray.init(num_cpus=1, include_dashboard=False)
    try:
        assert asyncio.run(_on(offloop.Pool(on=RayExecutor(), limit=2))) == 8
    finally:
        ray.shutdown()


async def _on(pool: offloop.Pool) -> int:
    return await pool.run(pow, 2, 3)


def test_the_default_executor_of_a_loop_is_a_pool(run: Run[Any]) -> None:
    async def main() -> None:
        loop, pool = asyncio.get_running_loop(), offloop.Pool("own", limit=2)
        assert await loop.run_in_executor(pool, pow, 2, 3) == 8
        pool.as_default_executor()
        assert await loop.run_in_executor(None, pow, 2, 4) == 16
        thread = await asyncio.to_thread(threading.current_thread)
        assert thread.name.startswith("offloop-own-")
        assert pool.stats()["done"] >= 3

    run(main())


FORCED = """if True:
    import asyncio, threading, offloop
    assert {place!r} in offloop.explain(offloop.offloaded(kind="cpu")(len)), "explain"

    async def main():
        threads = {{await offloop.run(threading.get_ident)}}
        threads.add(await offloop.to_process(threading.get_ident))
        threads.add(await offloop.Pool(on="process").run(threading.get_ident))
        threads.add(await offloop.Pool(on="auto", kind="cpu").run(threading.get_ident))
        print(threading.get_ident() in threads, len(threads) == 1, os.getpid())

    import os
    asyncio.run(main())
"""


@pytest.mark.parametrize("place", ["inline", "thread"])
def test_all_places_can_be_made_one_for_debugging(place: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORCED.format(place=place)],
        env={**os.environ, "OFFLOOP_FORCE": place, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stderr == ""
    in_the_loop, one_thread, _ = ended.stdout.split()
    assert in_the_loop == str(place == "inline")
    assert place == "thread" or one_thread == "True"


@pytest.mark.parametrize("install", [threading.settrace, threading.setprofile])
def test_tracers_and_profilers_of_threads_see_the_calls(install: Any) -> None:
    seen: set[str] = set()

    def watched() -> int:
        return 1

    def hook(frame: Any, event: str, argument: object) -> None:
        seen.add(frame.f_code.co_name)

    install(hook)
    try:
        pool = offloop.Pool(limit=1)
        assert pool.submit(watched).result(10) == 1
    finally:
        install(None)
        pool.close()
    assert "watched" in seen


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are in /proc")
@pytest.mark.parametrize(
    ("pool", "name"), [("db", "offloop-db-1"), ("a-very-long-name", "a-very-long-n-1")]
)
def test_the_system_shows_threads_by_name(pool: str, name: str) -> None:
    def own_name() -> str:
        return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip()

    made = offloop.Pool(pool, limit=1)
    assert made.submit(own_name).result(10) == name
    made.close()
