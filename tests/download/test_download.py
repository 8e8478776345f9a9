"""A download gives a file that is whole, or none."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest

import offloop
from conftest import Run
from servers import Server
from servers.ranges import content

SIZE = 3_000_000


def test_a_file_is_saved_whole(run: Run[Any], ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"

    async def main() -> offloop.Saved:
        return await offloop.download(f"{ranges.url}/honest/{SIZE}/x", target, checksum="sha256")

    saved = run(main())
    assert target.read_bytes() == content(SIZE)
    assert saved.path == target
    assert saved.bytes == SIZE
    assert saved.resumed_from == 0
    assert saved.checksum == "sha256:" + hashlib.sha256(content(SIZE)).hexdigest()
    assert saved.seconds > 0
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_folder_gets_the_name_in_the_url(run: Run[Any], ranges: Server, tmp_path: Path) -> None:
    async def main() -> offloop.Saved:
        async with offloop.Client(base_url=ranges.url) as client:
            return await client.download("/honest/10/a%20b.bin?x=1", tmp_path)

    saved = run(main())
    assert saved.path == tmp_path / "a b.bin"
    assert saved.path.read_bytes() == content(10)


@pytest.mark.parametrize("connections", [1, 4])
def test_several_connections_give_the_same_file(
    own_ranges: Server, tmp_path: Path, connections: int
) -> None:
    target = tmp_path / "file.bin"

    async def main() -> offloop.Saved:
        return await offloop.download(
            f"{own_ranges.url}/honest/{SIZE}/x?rate=4000000",
            target,
            connections=connections,
            min_part=100_000,
        )

    saved = asyncio.run(main())
    assert target.read_bytes() == content(SIZE)
    assert saved.bytes == SIZE
    stats = own_ranges.stats()
    assert stats["most"] - 1 <= connections
    if connections > 1:
        assert stats["ranges"] >= 3
        assert stats["bytes"] < SIZE + 1_500_000, "what others fetch is not sent twice"


def test_a_temporary_file_is_made_without_a_path_and_is_private(ranges: Server) -> None:
    async def main() -> offloop.Saved:
        return await offloop.download(f"{ranges.url}/honest/1000/x")

    saved = asyncio.run(main())
    try:
        assert saved.path.read_bytes() == content(1000)
        assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
    finally:
        saved.path.unlink()


def test_a_download_goes_on_where_one_was_cut_off(own_ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    url = f"{own_ranges.url}/honest/{SIZE}/x?cut=2000000&cuts=1"

    async def main() -> offloop.Saved:
        with pytest.raises(offloop.TruncatedBody):
            await offloop.download(url, target)
        assert sorted(os.listdir(tmp_path)) == ["file.bin.part", "file.bin.part.journal"]
        assert stat.S_IMODE((tmp_path / "file.bin.part").stat().st_mode) == 0o600
        return await offloop.download(url, target)

    saved = asyncio.run(main())
    assert saved.resumed_from == 2_000_000
    assert target.read_bytes() == content(SIZE)
    assert own_ranges.stats()["bytes"] == SIZE, "nothing was sent twice"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_retries_go_on_within_one_call(own_ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    url = f"{own_ranges.url}/honest/{SIZE}/x?cut=700000&cuts=4"
    retry = offloop.Retry(attempts=4, backoff=0.01)
    saved = asyncio.run(_download(url, target, retries=retry))
    assert saved.resumed_from == 0
    assert target.read_bytes() == content(SIZE)
    assert own_ranges.stats()["bytes"] == SIZE


async def _download(url: str, target: Path, **options: Any) -> offloop.Saved:
    return await offloop.download(url, target, **options)


def test_a_wrong_checksum_leaves_nothing(ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(offloop.ChecksumMismatch) as caught:
        asyncio.run(_download(f"{ranges.url}/honest/1000/x", target, checksum="sha256:" + "0" * 64))
    assert caught.value.actual == "sha256:" + hashlib.sha256(content(1000)).hexdigest()
    assert caught.value.expected == "sha256:" + "0" * 64
    assert os.listdir(tmp_path) == []
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.actual == caught.value.actual
    assert str(again) == str(caught.value)


def test_a_status_that_is_no_success_is_an_error(server: Server, tmp_path: Path) -> None:
    with pytest.raises(offloop.StatusError) as caught:
        asyncio.run(_download(f"{server.url}/status/404", tmp_path / "x"))
    assert caught.value.response is not None
    assert caught.value.response.status_code == 404
    assert caught.value.response.content == b"status"
    assert os.listdir(tmp_path) == []


def test_an_existing_file_is_not_replaced_unless_asked(ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_text("mine")
    with pytest.raises(FileExistsError) as caught:
        asyncio.run(_download(f"{ranges.url}/honest/1000/x", target))
    assert caught.value.filename == str(target)
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["file.bin"]
    asyncio.run(_download(f"{ranges.url}/honest/1000/x", target, overwrite=True))
    assert target.read_bytes() == content(1000)


def test_a_cancelled_download_can_be_gone_on_with(
    run: Run[Any], own_ranges: Server, tmp_path: Path
) -> None:
    target = tmp_path / "file.bin"
    url = f"{own_ranges.url}/honest/{SIZE}/x?rate=5000000"

    async def main() -> offloop.Saved:
        job = offloop.download(url, target).start()
        part = tmp_path / "file.bin.part"
        while not part.exists() or part.stat().st_size < 300_000:
            await asyncio.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        before = part.stat().st_size
        assert sorted(os.listdir(tmp_path)) == ["file.bin.part", "file.bin.part.journal"]
        saved = await offloop.download(url, target)
        assert saved.resumed_from == before, "no byte came after the await had ended"
        return saved

    run(main())
    assert target.read_bytes() == content(SIZE)


def test_a_cancelled_temporary_download_leaves_nothing(
    ranges: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def main() -> None:
        job = offloop.download(f"{ranges.url}/honest/{SIZE}/x?rate=1000000").start()
        while not os.listdir(tmp_path):
            await asyncio.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert os.listdir(tmp_path) == []

    asyncio.run(main())
