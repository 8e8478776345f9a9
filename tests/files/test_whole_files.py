"""Whole files: what they give, and that errors are those of the builtins."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import pathlib
import shutil
import stat
import threading

import pytest

import offloop

CONTENTS = [b"", b"x", b"0123456789" * 100, os.urandom(256 * 1024), os.urandom(300_001)]


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: str(len(content)))
@pytest.mark.parametrize("atomic", [True, False])
def test_what_is_written_is_what_is_read(run, tmp_path, content, atomic):
    path = tmp_path / "file"

    async def main():
        written = await offloop.write_bytes(path, content, atomic=atomic)
        return written, await offloop.read_bytes(path)

    assert run(main()) == (len(content), content)
    assert os.listdir(tmp_path) == ["file"]


def test_a_gather_of_many_reads_gives_each_its_own(run, tmp_path):
    for number in range(500):
        (tmp_path / str(number)).write_bytes(b"%d" % number * number)

    async def main():
        return await asyncio.gather(
            *(offloop.read_bytes(tmp_path / str(number)) for number in range(500))
        )

    assert run(main()) == [b"%d" % number * number for number in range(500)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [10, 100_000])
def test_anything_with_a_buffer_is_written(run, tmp_path, kind, size):
    data = os.urandom(size)

    async def main():
        await offloop.write_bytes(tmp_path / "file", kind(data))
        await offloop.append(tmp_path / "file", kind(data))

    run(main())
    assert (tmp_path / "file").read_bytes() == data + data


def test_text_is_no_bytes_and_bytes_are_no_text(tmp_path):
    with pytest.raises(TypeError):
        offloop.write_bytes(tmp_path / "file", "text")
    with pytest.raises(TypeError):
        offloop.write_text(tmp_path / "file", b"bytes")
    assert os.listdir(tmp_path) == []


def wrong_paths(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    yield tmp_path / "none"
    yield tmp_path / "none" / "none"
    yield tmp_path / "file" / "none"
    yield tmp_path / "loop"
    yield tmp_path / ("long" * 100)
    yield tmp_path
    yield os.fsencode(tmp_path / "none")
    yield os.fsencode(tmp_path) + b"/\xff"
    yield str(tmp_path / "\udcff")
    yield ""


@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("mode", ["rb", "wb", "ab"])
def test_errors_are_those_of_open(run, tmp_path, number, mode):
    path = list(wrong_paths(tmp_path))[number]
    operation = {
        "rb": lambda: offloop.read_bytes(path),
        "wb": lambda: offloop.write_bytes(path, b"", atomic=False),
        "ab": lambda: offloop.append(path, b""),
    }[mode]

    async def main():
        await operation()

    def blocking():
        with open(path, mode) as file:
            file.read() if mode == "rb" else file.write(b"")

    try:
        blocking()
        expected = None
    except OSError as error:
        expected = error
    if expected is None:
        run(main())
        return
    with pytest.raises(OSError) as caught:
        run(main())
    got = caught.value
    assert type(got) is type(expected)
    assert (got.errno, got.strerror) == (expected.errno, expected.strerror)
    assert got.filename == expected.filename or expected.filename is None
    if mode == "wb":
        with pytest.raises(OSError) as caught:
            run(whole(offloop.write_bytes(path, b"")))
        assert (type(caught.value), caught.value.errno) == (type(expected), expected.errno)


async def whole(job):
    return await job


@pytest.mark.parametrize("path", ["a\0b", b"a\0b"])
def test_a_nul_in_a_path_is_a_value_error_as_in_open(path):
    with pytest.raises(ValueError, match="embedded null"):
        open(path)
    for operation in (offloop.read_bytes, offloop.hash_file, offloop.remove_tree, offloop.walk):
        with pytest.raises(ValueError, match="embedded null"):
            operation(path)


@pytest.mark.parametrize("path", [3.5, None, ["x"]])
def test_what_is_no_path_is_a_type_error(path):
    with pytest.raises(TypeError):
        offloop.read_bytes(path)


def test_a_file_that_does_not_tell_its_size_is_read_to_its_end(run):
    content = run(whole(offloop.read_bytes("/proc/self/status")))
    assert content.startswith(b"Name:")
    assert b"Threads:" in content
    assert len(content) > 500


def test_permissions_are_kept_and_new_files_get_what_the_umask_allows(run, tmp_path):
    (tmp_path / "old").write_bytes(b"")
    os.chmod(tmp_path / "old", 0o640)
    (tmp_path / "usual").write_bytes(b"")

    async def main():
        await offloop.write_bytes(tmp_path / "old", b"new")
        await offloop.write_bytes(tmp_path / "new", b"new")

    run(main())

    def mode(name):
        return stat.S_IMODE(os.stat(tmp_path / name).st_mode)

    assert mode("old") == 0o640
    assert mode("new") == mode("usual")


def test_an_atomic_write_goes_through_symbolic_links(run, tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("made")

    async def main():
        await offloop.write_bytes(tmp_path / "link", b"new")
        await offloop.write_bytes(tmp_path / "dangling", b"made", durable=True)

    run(main())
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    assert (tmp_path / "dangling").is_symlink()
    assert (tmp_path / "made").read_bytes() == b"made"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "link", "made", "target"]


def test_an_atomic_write_to_a_device_writes_to_it(run):
    assert run(whole(offloop.write_bytes("/dev/null", b"gone"))) == 4


def test_readers_see_the_old_or_the_new_content_and_nothing_else(run, tmp_path):
    path = tmp_path / "file"
    contents = {bytes([number]) * 200_000 for number in range(8)}
    path.write_bytes(next(iter(contents)))
    stop = threading.Event()
    seen, wrong = set(), []

    def read():
        while not stop.is_set():
            content = path.read_bytes()
            seen.add(content[:1])
            if content not in contents:
                wrong.append(len(content))

    async def main():
        for _ in range(10):
            for content in contents:
                await offloop.write_bytes(path, content)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        run(main())
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert len(seen) > 1


def test_text_is_what_open_makes_of_it(run, tmp_path):
    path = tmp_path / "file"
    text = "Grüße\nline\r\nend\r"

    async def main(encoding, newline):
        count = await offloop.write_text(path, text, encoding, newline=newline)
        raw = path.read_bytes()
        return count, raw, await offloop.read_text(path, encoding, newline=newline)

    for encoding in ("utf-8", "utf-16", "latin-1", "utf-8-sig"):
        for newline in (None, "", "\n", "\r\n"):
            got = run(main(encoding, newline))
            with open(tmp_path / "expected", "w", encoding=encoding, newline=newline) as file:
                count = file.write(text)
            with open(tmp_path / "expected", encoding=encoding, newline=newline) as file:
                assert got == (count, (tmp_path / "expected").read_bytes(), file.read())


def test_text_that_cannot_be_encoded_leaves_the_file_alone(run, tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(UnicodeEncodeError):
        run(whole(offloop.write_text(tmp_path / "file", "ü", "ascii")))
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_copy_has_bytes_and_permissions_and_names_its_place(run, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(content)
    os.chmod(tmp_path / "source", 0o604)
    (tmp_path / "folder").mkdir()

    async def main():
        one = await offloop.copy(tmp_path / "source", tmp_path / "copy")
        two = await offloop.copy(tmp_path / "source", str(tmp_path / "folder"))
        return one, two

    assert run(main()) == (str(tmp_path / "copy"), str(tmp_path / "folder" / "source"))
    for name in ("copy", "folder/source"):
        assert (tmp_path / name).read_bytes() == content
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o604


def test_a_file_is_not_copied_onto_itself(run, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    os.link(tmp_path / "file", tmp_path / "same")
    with pytest.raises(shutil.SameFileError):
        run(whole(offloop.copy(tmp_path / "file", tmp_path / "same")))
    assert (tmp_path / "file").read_bytes() == b"content"


def test_what_cannot_be_copied_names_the_path(run, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        run(whole(offloop.copy(tmp_path / "none", tmp_path / "copy")))
    assert caught.value.filename == str(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        run(whole(offloop.copy(tmp_path, tmp_path / "copy")))
    assert os.listdir(tmp_path) == []


def test_moves_are_shutil_moves(run, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "folder").mkdir()
    assert run(whole(offloop.move(tmp_path / "file", tmp_path / "folder")))
    assert (tmp_path / "folder" / "file").read_bytes() == b"content"


def make_tree(root: pathlib.Path, outside: pathlib.Path) -> None:
    for folder in ("a/b/c", "a/d", "e"):
        (root / folder).mkdir(parents=True)
        (root / folder / "file").write_bytes(b"")
    outside.mkdir(exist_ok=True)
    (outside / "kept").write_bytes(b"")
    (root / "a" / "link").symlink_to(outside)
    os.mkfifo(root / "e" / "pipe")


def test_a_tree_is_removed_and_no_link_is_followed(run, tmp_path):
    make_tree(tmp_path / "tree", tmp_path / "outside")
    run(whole(offloop.remove_tree(tmp_path / "tree")))
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["kept"]


def test_only_folders_are_removed_as_trees(run, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name, error in (
        ("file", NotADirectoryError),
        ("link", NotADirectoryError),
        ("none", FileNotFoundError),
    ):
        with pytest.raises(error) as caught:
            run(whole(offloop.remove_tree(tmp_path / name)))
        assert caught.value.filename == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "link"]


@pytest.mark.once
def test_a_tree_deeper_than_a_path_can_be_is_removed(run, tmp_path):
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(300):
            os.mkdir("x" * 20)
            os.chdir("x" * 20)
    finally:
        os.chdir(here)
    run(whole(offloop.remove_tree(tmp_path / ("x" * 20))))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["sha256", "sha512", "md5", "sha1", "sha3_256", "blake2b"])
def test_checksums_are_hashlibs(run, tmp_path, name):
    content = os.urandom(700_001)
    (tmp_path / "file").write_bytes(content)
    got = run(whole(offloop.hash_file(tmp_path / "file", name)))
    assert got == hashlib.new(name, content).hexdigest()


def test_a_checksum_of_no_known_kind_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="md17"):
        offloop.hash_file(tmp_path / "file", "md17")


def test_status_is_that_of_os(run, tmp_path):
    (tmp_path / "link").symlink_to("none")

    async def main():
        status = await offloop.stat(tmp_path / "link", follow_symlinks=False)
        with pytest.raises(FileNotFoundError) as caught:
            await offloop.stat(tmp_path / "link")
        return status, caught.value.errno

    status, number = run(main())
    assert stat.S_ISLNK(status.st_mode)
    assert number == errno.ENOENT


def test_the_name_of_a_job_says_what_it_does(run, tmp_path):
    async def main():
        job = offloop.read_bytes(tmp_path / "file")
        shown = repr(job)
        job.close()
        return shown

    assert run(main()) == f"<Job read_bytes {tmp_path}/file new>"
    gc.collect()
