"""What users' code looks like to a type checker. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from typing import assert_type

import offloop


def parse(text: str, *, base: int = 10) -> int:
    return int(text, base)


async def main() -> None:
    response = await offloop.fetch("http://127.0.0.1/")
    assert_type(response, offloop.Response)
    assert_type(response.status_code, int)
    assert_type(response.content, bytes)
    async with offloop.Client(base_url="http://127.0.0.1", timeout=5) as client:
        job = client.get("/x", params={"a": 1}, headers={"b": "c"})
        assert_type(job, offloop.Job[offloop.Response])
        first, second = await asyncio.gather(job, offloop.run(parse, "1", base=2))
        assert_type(first, offloop.Response)
        assert_type(second, int)
    number = await offloop.run(parse, "3")
    assert_type(number, int)
    offloop.run(parse, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(offloop.run(parse, "4"))
    assert_type(task.result(), int)
    future = offloop.run(parse, "5").start()
    done, _ = await asyncio.wait([future])
    assert_type(done.pop().result(), int)
    try:
        response.raise_for_status()
    except offloop.StatusError as error:
        assert_type(error.response, offloop.Response | None)
