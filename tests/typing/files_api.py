"""Files, downloads, the watch and errors, as a type checker sees them in users' code; never run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import assert_type

import offloop


async def whole_files() -> None:
    assert_type(await offloop.read_bytes("a"), bytes)
    assert_type(await offloop.read_text(Path("a"), encoding="utf-8"), str)
    await offloop.write_bytes("a", b"data", atomic=True)
    await offloop.write_text("a", "text")
    await offloop.append("a", b"data")
    await offloop.copy("a", "b")
    await offloop.move("a", "b")
    await offloop.remove_tree("folder")
    assert_type(await offloop.stat("a"), os.stat_result)
    assert_type(await offloop.hash_file("a", "blake3"), str)
    async for line in offloop.read_lines("a"):
        assert_type(line, str)
    async for folder, folders, names in offloop.walk("."):
        assert_type(folder, str)
        assert_type(folders, list[str])
        assert_type(names, list[str])


async def opened_files() -> None:
    async with offloop.open("a") as text:
        assert_type(await text.read(), str)
        async for line in text:
            assert_type(line, str)
    async with offloop.open("a", "rb") as binary:
        assert_type(await binary.read(10), bytes)
        assert_type(await binary.peek(), bytes)
    async with offloop.open("a", "wb") as written:
        assert_type(await written.write(b"data"), int)
        await written.flush()
    async with offloop.open("a", "rb", buffering=0) as raw:
        assert_type(await raw.readall(), bytes)


async def downloads(client: offloop.Client) -> None:
    saved = await client.download("/big.iso", "big.iso", connections=4, checksum="sha256")
    assert_type(saved, offloop.Saved)
    assert_type(saved.bytes, int)
    assert_type(saved.checksum, str | None)
    assert_type(await offloop.download("http://127.0.0.1/"), offloop.Saved)
    async for one in offloop.downloads(["http://127.0.0.1/"], "folder"):
        assert_type(one, offloop.Downloaded)
    async for got in offloop.fetch_all(["http://127.0.0.1/"], limit=3):
        assert_type(got.error, Exception | None)


async def watched() -> None:
    async with offloop.watch(threshold=0.1) as health:
        stats = health.stats()
        assert_type(stats.utilisation, float)
    for stall in health.stalls:
        assert_type(stall.line, int | None)
    assert_type(health.report("loop.html"), Path)
    counted = offloop.stats()
    assert_type(counted, offloop.Stats)
    assert_type(counted.prometheus(), str)


async def errors(client: offloop.Client) -> None:
    try:
        await client.get("/")
    except offloop.TotalTimeout as error:
        assert_type(error.seconds, float)
        caught: TimeoutError = error
        del caught
    except offloop.BodyTooLarge as error:
        assert_type(error.limit, int | None)
    except offloop.ConnectError as error:
        refused: ConnectionError = error
        del refused
    except offloop.InvalidURL as error:
        invalid: ValueError = error
        del invalid
    except offloop.FetchError as error:
        assert_type(error.url, str | None)
        assert_type(error.attempts, list[offloop.Attempt])
