"""What users' code looks like to a type checker. Checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, assert_type

import offloop


def parse(text: str, *, base: int = 10) -> int:
    return int(text, base)


def watch(event: offloop.Progress) -> None:
    assert_type(event.unit, Literal["bytes", "items"])


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
        async with client.stream("GET", "/y", timeout=offloop.Timeout(read=5)) as streamed:
            async for chunk in streamed.aiter_bytes():
                assert_type(chunk, bytes)
            async for line in streamed.aiter_lines():
                assert_type(line, str)
            async for event in streamed.aiter_sse(reconnect=True):
                assert_type(event, offloop.ServerSentEvent)
        await client.post("/form", data={"title": "May", "draft": False, "n": 3})
        await client.put("/file", content=Path("x"), retries=offloop.Retry(attempts=2))
        await client.post("/files", files={"f": ("name.txt", b"data", "text/plain")})
        assert_type(client.stats(), dict[str, int])
        with ProcessPoolExecutor() as workers:
            results = client.fetch_all(
                ["/a"], workers=workers, progress=True, per_host="auto", rate=5
            )
        assert_type(results, offloop.FetchAll)
        async for got in results:
            assert_type(got, offloop.Fetched)
            assert_type(got.response, offloop.Response | None)
            assert_type(got.path, Path | None)
        requests = [offloop.Request("GET", "http://127.0.0.1/")]
        async for some in client.fetch_all(requests, progress=watch).batches(10):
            assert_type(some, list[offloop.Fetched])
        async for one in client.downloads(["/a"], "folder", rate=2, per_host=1):
            assert_type(one.saved, offloop.Saved | None)
    offloop.Client(
        auth=lambda request: {"x-signature": request.url},
        cookies=True,
        guard=offloop.Guard(allow=["10.0.0.0/8"]),
        hooks={"response": [lambda response: response.raise_for_status()]},
        limits=offloop.Limits(per_host=5, rate=10),
        verify="roots.pem",
    )
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
