"""The body of a request: what a user gives, to what Rust sends.

`encode` turns ``content=``, ``data=``, ``files=`` and ``json=`` into pieces that Rust can send
again and again (bytes, and paths of files that Rust reads itself), or, if anything has to come
out of Python while it is sent, into one asynchronous iterator of bytes. `start` has a task of the
running loop push that iterator into Rust, at the pace at which Rust takes it.

Everything runs in the loop's thread; what `_sources` says is pulled in worker threads is the
exception.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import mimetypes
import os
import re
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlencode

from offloop._sources import Awaited, Part, Pulled, Source, Stored, octets, part_of
from offloop.exceptions import Closed, InvalidBody, InvalidHeader

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from offloop._offloop import Job
    from offloop.options import Content, Files, Form

_dump = jsonlib.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body as Rust takes it: `pieces` any number of times, or else `source` once.

    `length` is its size in bytes, if that is known; `content_type` its header, if it has one.
    """

    pieces: list[bytes | Path]
    length: int | None
    content_type: str | None
    source: AsyncIterator[bytes] | None


class Upload(Protocol):
    """The end of a streamed body into which it is pushed; Rust holds the other."""

    def send(self, chunk: bytes, /) -> Awaitable[None]:
        """Hand over a chunk, once there is room; raises `Closed` when the request is over."""
        ...

    def finish(self) -> None:
        """Say that the body is whole."""

    def fail(self, error: BaseException, /) -> None:
        """Say that the body will never be whole, and why."""

    def closed(self) -> Job[None]:
        """Awaiting it ends when the request no longer wants the body."""
        ...


def encode(
    content: Content | None = None,
    data: Form | bytes | bytearray | memoryview | str | None = None,
    files: Files | None = None,
    json: object = None,
) -> Encoded:
    """Make a body of what the user gave; None stands for what was left out, as in httpx.

    Raises TypeError for what is no body, or several; `InvalidHeader` for what would break out of
    a part's header, or cannot be written there; OSError for a path; `InvalidBody` for what JSON or
    UTF-8 cannot express.
    """
    form = data is not None or files is not None
    if (content is not None) + form + (json is not None) > 1:
        raise TypeError("give one of content, json, and data with or without files")
    if content is not None:
        return _encoded([part_of(content)], None)
    if json is not None:
        return _encoded([_json(json)], "application/json")
    uploads = list(_pairs("files", files)) if files is not None else []
    if isinstance(data, (bytes, bytearray, memoryview, str)):
        if uploads:
            raise TypeError("with files, data must be a mapping or pairs")
        return _encoded([part_of(data)], None)
    fields = list(_fields(data)) if data is not None else []
    if uploads:
        return _multipart(fields, uploads)
    if fields:
        pairs = [(octets("a name in data", name), value) for name, value in fields]
        return _encoded([urlencode(pairs).encode()], "application/x-www-form-urlencoded")
    return Encoded([], 0, None, None)


async def feed(upload: Upload, source: AsyncIterator[bytes]) -> None:
    """Push `source` into `upload` until it ends, fails, or is no longer wanted; then close it.

    What the source raises goes to `upload.fail`; KeyboardInterrupt and SystemExit are raised
    from here as well, and CancelledError is.
    """
    try:
        async for chunk in source:
            try:
                await upload.send(chunk)
            except Closed:
                return
        upload.finish()
    except Exception as error:  # noqa: BLE001 - whatever it is, the request gets it
        upload.fail(error)
    except (KeyboardInterrupt, SystemExit) as error:
        upload.fail(error)
        raise
    finally:
        if isinstance(source, (Source, AsyncGenerator)):
            # Cancelled or not, once begun the closing goes on to its end.
            closing = asyncio.ensure_future(source.aclose())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)
            await asyncio.shield(closing)


_closing: set[asyncio.Future[None]] = set()
"""Holds the closings of `feed`, which their loop knows weakly only."""

_feeding: set[asyncio.Task[None]] = set()
"""The tasks of `start`, which a loop holds weakly only; each loop's thread changes its own."""


def start(upload: Upload, source: AsyncIterator[bytes]) -> asyncio.Task[None]:
    """Have a task of the running loop `feed`; it is cancelled when the request is over."""
    task = asyncio.get_running_loop().create_task(feed(upload, source), name="offloop-upload")
    closed = upload.closed().start()

    def over(_: object) -> None:
        if not closed.cancelled():
            closed.exception()  # or it would be logged as never retrieved
        task.cancel()

    def fed(_: object) -> None:
        _feeding.discard(task)
        closed.cancel()
        if task.cancelled():
            # Also when it was cancelled before its first step: the request must not wait for it.
            upload.fail(asyncio.CancelledError("the source of the request's body was cancelled"))
        elif (error := task.exception()) is not None:
            message = "the source of a request's body failed to close"
            task.get_loop().call_exception_handler({"message": message, "exception": error})

    _feeding.add(task)
    closed.add_done_callback(over)
    task.add_done_callback(fed)
    return task


def _encoded(parts: list[Part], content_type: str | None) -> Encoded:
    lengths = [len(part) if isinstance(part, bytes) else part.length for part in parts]
    known = [length for length in lengths if length is not None]
    length = sum(known) if len(known) == len(lengths) else None
    if any(isinstance(part, (Pulled, Awaited)) for part in parts):
        return Encoded([], length, content_type, Source(parts))
    pieces = [part.path if isinstance(part, Stored) else part for part in parts]
    return Encoded(cast("list[bytes | Path]", pieces), length, content_type, None)


def _pairs(what: str, given: Any) -> Iterator[tuple[str, Any]]:
    pairs = given.items() if isinstance(given, Mapping) else given
    if isinstance(pairs, (str, bytes, bytearray, memoryview)) or not isinstance(pairs, Iterable):
        raise TypeError(f"{what} must be a mapping or pairs, not {type(given).__name__}")
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # noqa: PLR2004 - a pair
            hint = "; chunks belong into content" if what == "data" else ""
            raise TypeError(f"{what} must be a mapping or pairs{hint}")
        name, value = pair
        if not isinstance(name, str):
            raise TypeError(f"a name in {what} must be str, not {type(name).__name__}")
        yield name, value


def _json(value: object) -> bytes:
    try:
        text = _dump(value)
    except ValueError as error:
        raise InvalidBody(f"the body is no JSON: {error}") from error
    return octets("the body", text)


def _fields(data: Any) -> Iterator[tuple[str, bytes]]:
    for name, value in _pairs("data", data):
        for each in value if isinstance(value, (list, tuple)) else (value,):
            yield name, _field(name, each)


def _field(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (str, int, float)):
        return octets(f"data[{name!r}]", str(value))
    kind = type(value).__name__
    raise TypeError(f"data[{name!r}] must be str, bytes, a number, bool or None, not {kind}")


def _multipart(fields: list[tuple[str, bytes]], uploads: list[tuple[str, Any]]) -> Encoded:
    """Encode as multipart/form-data (RFC 7578), with the names escaped as browsers do."""
    # 128 random bits: no content can be made to hold the boundary, none does by accident.
    boundary = secrets.token_hex(16)
    parts: list[Part] = []
    text: list[bytes] = []
    for name, value in fields:
        text += (_head(boundary, f'name="{_escaped(name)}"', {}), value, b"\r\n")
    for name, upload in uploads:
        head, part = _file(boundary, name, upload)
        text.append(head)
        if isinstance(part, bytes):
            text.append(part)
        else:
            parts += (b"".join(text), part)
            text = []
        text.append(b"\r\n")
    text.append(f"--{boundary}--\r\n".encode())
    parts.append(b"".join(text))
    return _encoded(parts, f"multipart/form-data; boundary={boundary}")


def _file(boundary: str, name: str, upload: object) -> tuple[bytes, Part]:
    """Encode one of `files`: a content, or (filename, content[, content type[, headers]])."""
    given: tuple[Any, ...] = upload if isinstance(upload, tuple) else (_filename(upload), upload)
    if not 2 <= len(given) <= 4:  # noqa: PLR2004 - the lengths named above
        raise TypeError(f"files[{name!r}] must be (filename, content[, content type[, headers]])")
    filename, content, content_type, headers = (*given, None, None)[:4]
    disposition = f'name="{_escaped(name)}"'
    lines: dict[str, str] = dict(headers or {})
    if filename is not None:
        if not isinstance(filename, str):
            raise TypeError(f"a filename must be str or None, not {type(filename).__name__}")
        disposition += f'; filename="{_escaped(filename)}"'
        content_type = content_type or _guessed(filename)
    if content_type is not None and not any(key.lower() == "content-type" for key in lines):
        lines["Content-Type"] = content_type
    return _head(boundary, disposition, lines), part_of(content)


def _filename(content: object) -> str:
    name = content if isinstance(content, os.PathLike) else getattr(content, "name", None)
    # An integer is the descriptor of a file without a name.
    return Path(os.fsdecode(name)).name if isinstance(name, (str, os.PathLike)) else "upload"


def _guessed(filename: str) -> str:
    # With the dot in front it is a path for certain: "data:" would be a URL that names its own
    # type, line breaks and all.
    content_type, packed = mimetypes.guess_type(f"./{filename}")
    return "application/octet-stream" if content_type is None or packed else content_type


def _escaped(name: str) -> str:
    """Escape as https://html.spec.whatwg.org/#multipart/form-data-encoding-algorithm says."""
    if "\0" in name:
        raise InvalidHeader(f"the name {name!r} has a NUL")
    return name.replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


def _head(boundary: str, disposition: str, lines: Mapping[str, str]) -> bytes:
    text = [f"--{boundary}", f"Content-Disposition: form-data; {disposition}"]
    for name, value in lines.items():
        if not isinstance(value, str):
            raise TypeError(f"the header {name!r} of a part must be str")
        if not _TOKEN.fullmatch(name) or name.lower() == "content-disposition":
            raise InvalidHeader(f"{name!r} cannot be a header of a part")
        if _CONTROL.search(value):
            raise InvalidHeader(f"the header {name!r} of a part has a control character")
        text.append(f"{name}: {value}")
    try:
        # File names that were not UTF-8 go out as the bytes they were.
        return "\r\n".join([*text, "", ""]).encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidHeader("the head of a part contains a lone surrogate") from None


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name: RFC 9110 §5.6.2."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What a header's value must not hold: RFC 9110 §5.5."""
