"""Servers that lie about ranges: the file is exact, or there is a typed error and no file."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

import offloop
from servers import Server
from servers.ranges import LIES, content

pytestmark = pytest.mark.once

SIZE = 2_000_000

# What comes of a lie that no look at the head can find out.
NEEDS_DIGEST = {"says-right-sends-other"}
# Even without a range there is no whole to be had.
NEVER_WHOLE = {"part-unasked"}
# As good as a connection that breaks: an error, and what has come is kept.
CUT_SHORT = {"short-body"}


def outcome(url: str, target: Path, **options: object) -> offloop.Saved | Exception:
    async def main() -> offloop.Saved:
        return await offloop.download(url, target, timeout=20, **options)  # type: ignore[arg-type]

    try:
        return asyncio.run(main())
    except (offloop.OffloopError, OSError) as error:
        return error


def is_exact(kind: str, got: bytes) -> bool:
    """Whether these are the bytes of one version of the file, and of the only one if it has one."""
    versions = range(16) if kind == "changed" else [0]
    return got in {content(SIZE, version) for version in versions}


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("kind", LIES)
@pytest.mark.parametrize("cut", [1, 700_000, 1_999_999])
def test_no_lie_about_a_resumed_range_corrupts_the_file(
    ranges: Server, tmp_path: Path, kind: str, connections: int, cut: int
) -> None:
    target = tmp_path / "file.bin"
    url = f"{ranges.url}/{kind}/{SIZE}/{tmp_path.name}?cut={cut}&cuts=1"
    if kind in NEEDS_DIGEST:
        url += "&digest=good"
    for _ in range(2):
        last = outcome(url, target, connections=connections, min_part=100_000)
        if isinstance(last, offloop.Saved):
            break
        assert not target.exists()
    if kind in NEVER_WHOLE:
        assert isinstance(last, offloop.RangeMismatch)
    elif kind in CUT_SHORT:
        assert isinstance(last, offloop.Saved | offloop.TruncatedBody)
    else:
        assert isinstance(last, offloop.Saved), repr(last)
    if isinstance(last, offloop.Saved):
        assert is_exact(kind, target.read_bytes())
        assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]
    else:
        assert not target.exists()


@pytest.mark.parametrize("kind", LIES)
def test_no_lie_to_one_of_four_connections_corrupts_the_file(
    ranges: Server, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "file.bin"
    url = f"{ranges.url}/{kind}/{SIZE}/{tmp_path.name}?rate=8000000"
    if kind in NEEDS_DIGEST:
        url += "&digest=good"
    saved = outcome(url, target, connections=4, min_part=50_000)
    if kind in NEVER_WHOLE:
        assert isinstance(saved, offloop.RangeMismatch)
        assert list(tmp_path.iterdir()) == []
    elif kind in CUT_SHORT:
        assert isinstance(saved, offloop.TruncatedBody)
        assert not target.exists()
    else:
        assert isinstance(saved, offloop.Saved), repr(saved)
        assert is_exact(kind, target.read_bytes())


def test_the_same_tag_with_new_bytes_is_found_out_by_the_checksum(
    ranges: Server, tmp_path: Path
) -> None:
    target = tmp_path / "file.bin"
    url = f"{ranges.url}/says-right-sends-other/{SIZE}/{tmp_path.name}?cut=500000&cuts=1"
    checksum = "sha256:" + hashlib.sha256(content(SIZE)).hexdigest()
    assert isinstance(outcome(url, target, checksum=checksum), offloop.TruncatedBody)
    saved = outcome(url, target, checksum=checksum)
    assert isinstance(saved, offloop.Saved)
    assert saved.resumed_from == 0, "it had to be fetched anew"
    assert target.read_bytes() == content(SIZE)


def test_a_digest_of_the_server_that_does_not_fit_is_an_error(
    ranges: Server, tmp_path: Path
) -> None:
    refused = outcome(f"{ranges.url}/honest/1000/x?digest=bad", tmp_path / "x")
    assert isinstance(refused, offloop.ChecksumMismatch)
    assert list(tmp_path.iterdir()) == []
    saved = outcome(f"{ranges.url}/honest/1000/x?digest=good", tmp_path / "x")
    assert isinstance(saved, offloop.Saved)
    assert saved.checksum is not None
    assert saved.checksum.startswith("sha256:")
