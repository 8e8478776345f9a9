"""What the disk and the names on it can do to a download: typed errors, nothing lost, nothing
written elsewhere."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import offloop
from servers import Server
from servers.ranges import content

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits and folders"),
]

SIZE = 3_000_000


def download(url: str, target: Path | str, **options: Any) -> offloop.Saved:
    async def main() -> offloop.Saved:
        return await offloop.download(url, target, timeout=30, **options)

    return asyncio.run(main())


def in_process(code: str, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    """Run code in a process of its own; give what it prints."""
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


DOWNLOAD_AND_TELL = """
    import asyncio, json, os, resource, sys
    import offloop
    url, target, limit = sys.argv[1:4]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    async def main():
        try:
            saved = await offloop.download(url, target, connections=int(sys.argv[4]), timeout=30)
        except OSError as error:
            print(type(error).__name__, error.errno, error.filename)
        else:
            print("saved", saved.resumed_from)
    asyncio.run(main())
"""


@pytest.mark.parametrize("connections", ["1", "4"])
def test_a_file_that_may_not_grow_is_an_os_error_and_what_was_written_is_kept(
    ranges: Server, tmp_path: Path, connections: str
) -> None:
    target = tmp_path / "file.bin"
    url = f"{ranges.url}/honest/{SIZE}/{tmp_path.name}"
    told = in_process(DOWNLOAD_AND_TELL, url, str(target), "1000000", connections)
    assert told.split() == ["OSError", str(errno.EFBIG), f"{target}.part"]
    assert not target.exists()
    if connections == "1":
        told = in_process(DOWNLOAD_AND_TELL, url, str(target), "0", connections)
        assert told.split() == ["saved", "1000000"]
        assert target.read_bytes() == content(SIZE)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_enospc_and_the_part_is_valid_up_to_its_journal(
    ranges: Server, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        url = f"{ranges.url}/honest/{SIZE}/{tmp_path.name}"
        with pytest.raises(OSError, match="No space") as caught:
            download(url, small / "file.bin")
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(small / "file.bin.part")
        assert not (small / "file.bin").exists()
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        saved = download(url, small / "file.bin")
        assert saved.resumed_from > 1_500_000
        assert (small / "file.bin").read_bytes() == content(SIZE)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_the_full_device_is_no_place_for_a_download(ranges: Server) -> None:
    with pytest.raises(FileExistsError) as caught:
        download(f"{ranges.url}/honest/1000/x", "/dev/full")
    assert caught.value.filename == "/dev/full"


def test_a_folder_that_may_not_be_written_is_a_permission_error(
    ranges: Server, tmp_path: Path
) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    parents = [tmp_path, *tmp_path.parents]
    modes = {path: path.stat().st_mode for path in parents if path.owner() == "root"}
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        prefix = ("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all")
    try:
        for path in parents[:3]:
            path.chmod(0o755)
        url = f"{ranges.url}/honest/1000/x"
        told = in_process(DOWNLOAD_AND_TELL, url, str(folder / "f"), "0", "1", prefix=prefix)
    except AssertionError as error:
        if "ModuleNotFoundError" in str(error) or "Permission" in str(error):
            pytest.skip("another user cannot run this Python")
        raise
    finally:
        for path, mode in modes.items():
            path.chmod(stat.S_IMODE(mode))
    assert told.split() == ["PermissionError", str(errno.EACCES), f"{folder}/f.part"]
    assert os.listdir(folder) == []


def test_a_link_at_the_target_is_replaced_and_not_followed(ranges: Server, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    target = tmp_path / "file.bin"
    target.symlink_to(precious)
    with pytest.raises(FileExistsError):
        download(f"{ranges.url}/honest/1000/x", target)
    download(f"{ranges.url}/honest/1000/x", target, overwrite=True)
    assert precious.read_text() == "mine"
    assert not target.is_symlink()
    assert target.read_bytes() == content(1000)


@pytest.mark.parametrize("ending", [".part", ".part.journal"])
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "hard link"])
def test_what_is_no_part_of_ours_is_left_alone(
    ranges: Server, tmp_path: Path, ending: str, kind: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    target = tmp_path / "file.bin"
    there = tmp_path / f"file.bin{ending}"
    match kind:
        case "link":
            there.symlink_to(precious)
        case "dangling":
            there.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(there)
        case "folder":
            there.mkdir()
        case _:
            there.hardlink_to(precious)
    with pytest.raises(OSError, match=re.escape(ending)) as caught:
        download(f"{ranges.url}/honest/1000/x", target)
    assert caught.value.filename == str(there)
    assert precious.read_text() == "mine"
    assert not target.exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("ending", [".part", ".part.journal"])
def test_a_part_or_journal_that_makes_no_sense_is_begun_anew(
    ranges: Server, tmp_path: Path, ending: str
) -> None:
    target = tmp_path / "file.bin"
    (tmp_path / f"file.bin{ending}").write_bytes(os.urandom(5000))
    saved = download(f"{ranges.url}/honest/{SIZE}/x", target)
    assert saved.resumed_from == 0
    assert target.read_bytes() == content(SIZE)
    assert os.listdir(tmp_path) == ["file.bin"]


def test_the_part_of_another_url_is_begun_anew(ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(offloop.TruncatedBody):
        download(f"{ranges.url}/honest/{SIZE}/one?cut=1000000", target)
    saved = download(f"{ranges.url}/honest/{SIZE}/two", target)
    assert saved.resumed_from == 0
    assert target.read_bytes() == content(SIZE)


def test_a_target_that_is_a_folder_in_the_folder_is_an_error(
    ranges: Server, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        download(f"{ranges.url}/honest/1000/x", tmp_path, overwrite=True)
    assert caught.value.filename == str(tmp_path / "x")


def test_a_file_that_appears_meanwhile_is_not_replaced(ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"

    async def main() -> None:
        job = offloop.download(f"{ranges.url}/honest/{SIZE}/x?rate=6000000", target).start()
        while not (tmp_path / "file.bin.part").exists():
            await asyncio.sleep(0.01)
        target.write_text("mine")
        with pytest.raises(FileExistsError) as caught:
            await job
        assert caught.value.filename == str(target)

    asyncio.run(main())
    assert target.read_text() == "mine"
    assert (tmp_path / "file.bin.part").stat().st_size == SIZE, "what has come is kept"
    target.unlink()
    saved = download(f"{ranges.url}/honest/{SIZE}/x?rate=6000000", target)
    assert saved.resumed_from == SIZE


def test_two_downloads_to_one_file_do_not_meet(ranges: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"

    async def main() -> None:
        url = f"{ranges.url}/honest/{SIZE}/x?rate=6000000"
        both = await asyncio.gather(
            offloop.download(url, target), offloop.download(url, target), return_exceptions=True
        )
        assert sorted(type(it).__name__ for it in both) == ["DownloadInProgress", "Saved"]
        refused = next(it for it in both if isinstance(it, offloop.DownloadInProgress))
        assert refused.path == Path(f"{target}.part")

    asyncio.run(main())
    assert target.read_bytes() == content(SIZE)


def test_the_file_has_the_mode_that_new_files_have(ranges: Server, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        saved = download(f"{ranges.url}/honest/1000/x", tmp_path / "file.bin")
    finally:
        os.umask(before)
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o640


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_durable_file_is_on_the_disk_before_it_has_its_name(
    ranges: Server, tmp_path: Path, overwrite: bool
) -> None:
    code = """
        import asyncio, sys, offloop
        asyncio.run(asyncio.wait_for(
            offloop.download(sys.argv[1], sys.argv[2], durable=True,
                             overwrite=sys.argv[3] == "True"), 30))
    """
    log, target = tmp_path / "log", tmp_path / "file.bin"
    calls = "trace=pwrite64,write,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat"
    in_process(
        code,
        f"{ranges.url}/honest/{SIZE}/x",
        str(target),
        str(overwrite),
        prefix=("strace", "-f", "-y", "-e", calls, "-o", str(log)),
    )
    order = []
    for line in log.read_text().splitlines():
        if f"<{target}.part>" in line and "pwrite64" in line:
            order.append("write")
        elif "fsync(" in line and f"<{target}.part>" in line:
            order.append("fsync")
        elif re.search(r"rename(at2?)?\(", line) and f'{target}"' in line:
            order.append("rename")
        elif "fsync(" in line and f"<{tmp_path}>" in line:
            order.append("fsync folder")
        elif "unlink" in line and ".part.journal" in line:
            order.append("journal goes")
    assert order[0] == "write"
    assert order[-4:] == ["fsync", "rename", "fsync folder", "journal goes"]
    assert "write" not in order[order.index("fsync") :]
