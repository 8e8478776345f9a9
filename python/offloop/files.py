"""Files that do not block the event loop: whole operations, each one trip to a thread.

Errors are those of the builtins: the same subclass of OSError, the same errno and file name.
`path` is a `str`, `bytes` or `os.PathLike` everywhere.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from typing import TYPE_CHECKING, Any, overload

from offloop import _offloop
from offloop._hop import run
from offloop._lines import Lines, read_lines, tail
from offloop._listing import Entry, Scan, Walk, scandir, walk
from offloop._offloop import read_bytes
from offloop.aiofiles.threadpool import open  # noqa: A004 - the builtin's name is the point
from offloop.exceptions import InvalidChecksum

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from offloop._offloop import Job

    StrPath = str | os.PathLike[str]
    AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_open = io.open

__all__ = [
    "Entry",
    "Lines",
    "Scan",
    "Walk",
    "append",
    "copy",
    "hash_file",
    "move",
    "open",
    "read_bytes",
    "read_lines",
    "read_text",
    "remove_tree",
    "scandir",
    "stat",
    "tail",
    "walk",
    "write_bytes",
    "write_text",
]


def read_text(
    path: AnyPath,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Job[str]:
    """Awaiting it gives the whole file as text, decoded as ``open`` decodes it.

    Raises what ``open(path, …).read()`` raises. Cancellation: the await ends when the read has.
    Thread safety: may be called from any thread that runs a loop.

    >>> await read_text("notes.txt", encoding="utf-8")
    'remember the milk'
    """
    return run(_read_text, path, encoding, errors, newline)


def _read_text(path: AnyPath, encoding: str | None, errors: str | None, newline: str | None) -> str:
    with _open(path, encoding=encoding, errors=errors, newline=newline) as file:
        return file.read()


def write_bytes(
    path: AnyPath, data: Buffer, *, atomic: bool = True, durable: bool = False
) -> Job[int]:
    """Awaiting it gives the number of bytes that are now the content of `path`.

    With `atomic`, as by default, others see the old content or the new one, at every moment, also
    after a crash of the process: the new content is written to a file beside it, which then takes
    its name. The
    permissions of the old file are kept, a symbolic link is followed; hard links, access-control
    lists and extended attributes are not kept. `durable` flushes to the disk (fsync of the file,
    and with `atomic` of its folder) before the await ends. `data` is not to be changed meanwhile;
    what can be changed is copied first.

    Raises what ``open(path, "wb")`` and its ``write`` raise.

    Cancellation: with `atomic` the old content stays, unless the new one has just taken its place;
    without, what has been begun is written to its end. The await ends when that is decided.

    >>> await write_bytes("state.bin", b"new", atomic=True)
    3
    """
    if atomic:
        return _offloop.replace_file(path, data, durable)
    return _offloop.write_file(path, data, durable)


def write_text(  # noqa: PLR0913 - as pathlib has it, and two more
    path: AnyPath,
    data: str,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    atomic: bool = True,
    durable: bool = False,
) -> Job[int]:
    r"""Awaiting it gives the number of characters written.

    Encoding, error handler and newlines as ``open`` has them; `atomic`, `durable` and
    cancellation as `write_bytes` has them, and without `atomic` nothing is written of a text that
    cannot be encoded.

    >>> await write_text("notes.txt", "remember the milk", encoding="utf-8")
    17
    """
    if not isinstance(data, str):
        raise TypeError(f"data must be str, not {type(data).__name__}")
    return run(_write_text, path, data, encoding, errors, newline, atomic, durable)


def _write_text(  # noqa: PLR0913, PLR0917 - the same
    path: AnyPath,
    data: str,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    atomic: bool,
    durable: bool,
) -> int:
    encoded = io.BytesIO()
    with io.TextIOWrapper(encoded, encoding, errors, newline) as text:
        text.write(data)
        text.flush()
        _offloop.write_now(path, encoded.getvalue(), atomic, durable)
    return len(data)


def append(path: AnyPath, data: Buffer, *, durable: bool = False) -> Job[int]:
    """Awaiting it gives the number of bytes that now stand at the end of `path`.

    The file is made if there is none. `durable` flushes it to the disk. Raises what
    ``open(path, "ab")`` and its ``write`` raise.

    Cancellation: not begun, it is dropped; once begun it is written to its end, and the await
    ends when it is.

    >>> await append("log.bin", b"line 1")
    6
    """
    return _offloop.append_file(path, data, durable)


@overload
def copy(source: StrPath, target: StrPath, *, durable: bool = False) -> Job[str]: ...
@overload
def copy(source: AnyPath, target: AnyPath, *, durable: bool = False) -> Job[Any]: ...
def copy(source: AnyPath, target: AnyPath, *, durable: bool = False) -> Job[Any]:
    """Awaiting it gives the path of the copy: bytes and permissions, as ``shutil.copy`` has it.

    A `target` that is a folder gets the copy in it. The copy appears when it is complete, and what
    was there stays until then. Raises OSError, and ``shutil.SameFileError``.

    Cancellation: there is no copy, and no part of one; the await ends when that is so.

    >>> await copy("notes.txt", "notes.bak")
    'notes.bak'
    """
    return _offloop.copy_file(source, target, durable)


def move(source: StrPath, target: StrPath) -> Job[Any]:
    """Awaiting it gives where `source` stands now: ``shutil.move``, also from disk to disk.

    Raises what ``shutil.move`` raises. Cancellation: the await ends when the move has.
    """
    return run(shutil.move, source, target)


def remove_tree(path: AnyPath) -> Job[None]:
    """Awaiting it means that the folder `path` and all that is in it are gone.

    No symbolic link is followed. Raises OSError with the path that could not be removed;
    NotADirectoryError for a file or a symbolic link.

    Cancellation: stops between two entries; what is gone by then is gone.
    """
    return _offloop.remove_tree(path)


def stat(path: AnyPath, *, follow_symlinks: bool = True) -> Job[os.stat_result]:
    """Awaiting it gives what ``os.stat`` gives, and raises what that raises."""
    return run(os.stat, path, follow_symlinks=follow_symlinks)


def hash_file(path: AnyPath, algorithm: str = "sha256") -> Job[str]:
    """Awaiting it gives the checksum of the file's content in hexadecimal digits.

    `algorithm` is ``sha256``, ``sha512``, ``blake3`` or ``md5``, which are computed without the
    GIL by Rust, or any other name that ``hashlib.new`` knows. Raises OSError, ValueError for an
    unknown name. Cancellation: the await ends at once, the reading soon after.

    >>> (await hash_file("notes.txt"))[:8]
    'd7c5e8a5'
    """
    try:
        return _offloop.hash_file(path, algorithm)
    except InvalidChecksum:
        hashlib.new(algorithm)  # raises ValueError for what it does not know, too
        return run(_hash_file, path, algorithm)


def _hash_file(path: AnyPath, algorithm: str) -> str:
    with _open(path, "rb") as file:
        digest = hashlib.file_digest(file, algorithm)
    # The SHAKEs have no length of their own: twice their security strength, as hashlib's tests.
    length = {"shake_128": 32, "shake_256": 64}.get(digest.name)
    return digest.hexdigest() if length is None else digest.hexdigest(length)  # type: ignore[call-arg]
