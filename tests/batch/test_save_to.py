"""`save_to`: bodies become files, none of which was there before, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
from pathlib import Path
from typing import Any

import pytest

import offloop
from batch.conftest import Counting
from conftest import Run
from servers import Server


def fetch(urls: Any, folder: Path, **options: Any) -> list[offloop.Fetched]:
    async def main() -> list[offloop.Fetched]:
        async with offloop.Client() as client:
            results = client.fetch_all(urls, save_to=folder, ordered=True, **options)
            return [got async for got in results]

    return asyncio.run(main())


def test_each_body_is_a_file(run: Run[Any], server: Server, tmp_path: Path) -> None:
    sizes = [0, 1, 1024, 200_000, 1_000_000]
    folder = tmp_path / "new" / "folder"

    async def main() -> list[offloop.Fetched]:
        async with offloop.Client(base_url=server.url) as client:
            urls = [f"/bytes/{size}" for size in sizes]
            return [got async for got in client.fetch_all(urls, save_to=folder, ordered=True)]

    results = run(main())
    for size, got in zip(sizes, results, strict=True):
        assert got.path == folder / str(size)
        assert got.path.read_bytes() == b"y" * size
        assert got.response is not None
        assert got.response.headers["content-length"] == str(size)
        with pytest.raises(offloop.LifecycleError, match="in a file"):
            _ = got.response.content
    assert len(os.listdir(folder)) == len(sizes)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((folder / "1024").stat().st_mode) == 0o666 & ~umask


def test_urls_with_one_name_get_files_of_their_own(server: Server, tmp_path: Path) -> None:
    urls = [f"{server.url}/1k?{n}" for n in range(50)]
    results = fetch(urls, tmp_path)
    assert [got.error for got in results] == [None] * 50
    paths = {got.path for got in results}
    assert len(paths) == 50
    assert tmp_path / "1k" in paths
    assert {path.parent for path in paths if path} == {tmp_path}


def test_no_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "1k").write_text("mine")
    os.symlink(tmp_path / "elsewhere", tmp_path / "100")
    url = f"{server.url}/1k"
    first, link, again = fetch([url, f"{server.url}/bytes/100", url], tmp_path, limit=1)
    assert first.path is not None
    assert first.path.name.startswith("1k-")
    assert link.path is not None
    assert link.path.name.startswith("100-")
    assert isinstance(again.error, FileExistsError)
    assert again.error.filename == str(first.path)
    assert (tmp_path / "1k").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    assert len(os.listdir(tmp_path)) == 4


HOSTILE = ["", "..", "%2e%2e", "..%2fescaped", "a%5cb", ".hidden", "a%00b", "CON", "x%0ay", "%ff"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_not_safe_is_refused_before_the_request(
    counting: Counting, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "folder"
    (got,) = fetch([f"{counting.url}/hold/0/{name}"], folder)
    assert isinstance(got.error, offloop.UnsafeFilename), got.error
    assert counting.report()["order"] == []
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(folder) == []


def test_what_is_no_success_stays_in_memory(server: Server, tmp_path: Path) -> None:
    (got,) = fetch([f"{server.url}/nothing"], tmp_path)
    assert got.path is None
    assert got.response is not None
    assert got.response.status_code == 404
    assert got.response.content == b"no such path"
    assert os.listdir(tmp_path) == []


def test_what_breaks_off_leaves_no_file(server: Server, tmp_path: Path) -> None:
    (cut,) = fetch([f"{server.url}/cut/500"], tmp_path)
    assert isinstance(cut.error, offloop.TruncatedBody)
    (large,) = fetch([f"{server.url}/bytes/500000"], tmp_path, max_body=300_000)
    assert isinstance(large.error, offloop.BodyTooLarge)
    assert os.listdir(tmp_path) == []


def test_leaving_early_leaves_no_half_file(counting: Counting, tmp_path: Path) -> None:
    async def main() -> None:
        urls = [f"{counting.url}/hold/0/ok", *(f"{counting.url}/flood/f{n}" for n in range(4))]
        async with offloop.Client() as client:
            async with client.fetch_all(urls, save_to=tmp_path) as results:
                async for got in results:
                    assert got.path == tmp_path / "ok"
                    while len(os.listdir(tmp_path)) < 5:
                        await asyncio.sleep(0.01)
                    break
            for _ in range(200):
                if os.listdir(tmp_path) == ["ok"]:
                    return
                await asyncio.sleep(0.01)
            assert os.listdir(tmp_path) == ["ok"]

    asyncio.run(main())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_what_the_system_refuses_is_an_os_error(server: Server, tmp_path: Path) -> None:
    async def main() -> offloop.Fetched:
        async with offloop.Client(base_url=server.url) as client:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            try:
                async for got in client.fetch_all(["/bytes/1000000"], save_to=tmp_path):
                    return got
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        raise AssertionError("no result")

    got = asyncio.run(main())
    assert isinstance(got.error, OSError)
    assert got.error.errno is not None
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        offloop.fetch_all([], save_to=tmp_path / "file" / "folder")
