"""Downloads: files from the net that are whole, or not there.

What is done is done in Rust; here stand the signatures, the documentation, and the progress.
"""

from __future__ import annotations

import os
import tempfile
from os import fspath
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

from offloop import _hooks, _lifecycle, _offloop
from offloop.batch import FetchAll, count, one_of, pace
from offloop.options import Downloaded
from offloop.progress import Ticker, Wanted, watcher

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
    from typing import Unpack

    from offloop._offloop import Job, Meter
    from offloop.options import (
        Auth,
        Duration,
        HeaderLines,
        Params,
        Retry,
        Saved,
        StrPath,
        Timeout,
    )


class _Requests(TypedDict, total=False):
    """The options of the requests of a download; one that is left out is the client's."""

    params: Params | None
    headers: HeaderLines | None
    cookies: Mapping[str, str] | None
    auth: Auth | None
    timeout: Timeout | Duration | None
    follow_redirects: bool | None
    retries: int | Retry | None


class DownloadOptions(_Requests, total=False):
    """The options of a download; `Client.download` says what each does."""

    resume: bool
    overwrite: bool
    checksum: str | None
    connections: int
    min_part: int
    max_bytes: int | None
    durable: bool
    server_name: bool
    progress: Wanted


_MIN_PART = 1024 * 1024
_MOST_CONNECTIONS = 16
_FOR_REQUESTS = frozenset(_Requests.__annotations__)
_ALL = frozenset(DownloadOptions.__annotations__)


class Downloads:
    """The part of `offloop.Client` that downloads."""

    def download(
        self,
        url: str,
        path: StrPath | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Job[Saved]:
        """Awaiting it gives a `Saved`: the file is there, and whole.

        The body goes from the socket to the disk without passing through Python. It is written
        to ``NAME.part`` beside the target, with a journal ``NAME.part.journal``; the target
        appears by a rename when length, ranges and checksums agree. So at every moment the
        target is absent or exact, and the next call goes on where one was cut off, if the
        server has a strong entity tag. For a body in memory use `get`; for one that is looked at
        while it comes, `stream`.

        `url` is absolute, or a path behind the base URL. `path` is the file; or a folder, for the
        last segment of the URL as name; or None, for a temporary file that is yours to remove.

        Options
            resume: go on with what an earlier call has left; default True.
            overwrite: replace a file that is there; default False.
            checksum: ``"sha256:HEX"`` to be compared, or ``"sha256"`` to be told; likewise
                sha512, blake3, md5. What the server says in ``Repr-Digest`` or
                ``Content-Digest`` is compared in any case.
            connections: how many at once, 1 to 16; default 1. A server that has no ranges gets
                one, whatever is asked for. min_part: bytes that are worth a connection of their
                own; default 1 MiB.
            max_bytes: the most that is taken; default None, no limit.
            durable: have the file, and then its name, written to the disk itself before it counts
                as saved; default False.
            server_name: in a folder, take the name from ``Content-Disposition``, made harmless;
                default False.
            progress: True for bars on a terminal and lines elsewhere; a function that gets a
                `Progress` at most ten times a second, in the loop's thread; or a bar like tqdm's.
            params, headers, cookies, auth, timeout, follow_redirects, retries: as for `get`. A
                timeout given as a number covers the whole download; without one only ``read``
                and ``stall`` limit the body. A retry goes on where the last try was cut off,
                and one that brought at least 1 MiB does not count.

        Hooks of the client are called as for `get`, those of the response when the file is there:
        it is the one that the file began with, with its `history`, `attempts` and `timings`, of
        which ``body`` lasts until the file is there; its body is in the file. Of further requests,
        for other parts or after a break, nothing is shown. A refusal is shown, too.

        Raises what a fetch raises, and `StatusError` for a response that is no success;
        `ChecksumMismatch`, `RangeMismatch` for a server whose ranges cannot be true,
        `UnsafeFilename`, `DownloadInProgress` while another download writes to the same file,
        `BodyTooLarge` beyond max_bytes; and OSError as `open` does: FileExistsError,
        PermissionError, ENOSPC and others, with errno and filename. At once: TypeError,
        ValueError, `InvalidURL`, `InvalidChecksum`.

        Cancellation: the connections close, the write under way ends, then the await does. The
        ``.part`` is kept for the next call if that can go on with it; a temporary file is removed.

        Thread safety: may be called from any thread.

        >>> saved = await client.download("/1k", folder)
        >>> saved.path.name, saved.bytes, saved.resumed_from
        ('1k', 1024, 0)
        """
        return self._begun(url, path, options)

    def _begun(
        self,
        url: str,
        path: StrPath | None,
        options: DownloadOptions,
        turn: tuple[_offloop.Batch, int] | None = None,
    ) -> Job[Saved]:
        """Make the Job of a download, which may be one of many, each in its turn."""
        unknown = options.keys() - _ALL
        if unknown:
            raise TypeError(f"a download has no option {min(unknown)!r}")
        watch = watcher(options.get("progress"))
        asked = {name: value for name, value in options.items() if name in _FOR_REQUESTS}
        own: Any = self
        order = _order(path, options) | {"turn": turn}

        def make(url: str, **asked: Any) -> tuple[Job[Saved], Meter]:
            job: Job[Saved]
            job, meter = own._download(url, order, **asked)
            if watch is not None:
                name = urlsplit(url).path.rpartition("/")[2] or url
                ticker = Ticker(job, meter, watch, name)
                job._feed_by(ticker.start)
                job._before_others(ticker.finish)
            return job, meter

        calls = _hooks.calls_of(self, asked)
        if calls is None:
            return make(url, **asked)[0]
        return calls.download(own._describe, make, url, asked)

    def downloads(  # noqa: PLR0913 - each is optional
        self,
        urls: Iterable[str] | AsyncIterable[str],
        folder: StrPath,
        *,
        limit: int = 8,
        per_host: int = 4,
        rate: float | None = None,
        on_error: Literal["return", "raise"] = "return",
        **options: Unpack[DownloadOptions],
    ) -> AsyncGenerator[Downloaded, None]:
        """Give a `Downloaded` for each of `urls`, as they end, to whoever iterates over it.

        `urls` is an iterable or an async iterable of str, and is pulled only when there is room.
        Each file goes into `folder` under the last segment of its URL, or the server's name; of
        two of the same name the second one fails. `fetch_all`'s scheduler decides which begins
        when: `limit` downloads are under way at once (default 8), `per_host` of one host (default
        4), and `rate` are begun per second and host (default: no limit); hosts share `limit`
        evenly, and one that refuses with ``Retry-After`` is left alone for as long, if `retries`
        are allowed. ``on_error="raise"`` ends at the first failure; by default failures are in
        the results. The other options are those of `download`, for each of them; so are the
        errors, and a function as ``progress`` is told of all of them.

        Raises what the source raises, once what was begun before has come home. At once:
        TypeError and ValueError.

        Cancellation: when the iteration is left and closed, downloads under way are cancelled, as
        a cancelled `download` is.

        Thread safety: an iteration belongs to one loop.

        >>> async for got in client.downloads(["/1k", "/nothing"], folder, overwrite=True):
        ...     print(got.index, type(got.error).__name__)
        0 NoneType
        1 StatusError
        """
        raising = one_of("on_error", on_error, ("return", "raise")) == "raise"
        if isinstance(urls, (str, bytes)):
            raise TypeError("urls must be an iterable of str, not one str")
        _order(folder, options)  # what is wrong for all is told at once
        place = fspath(folder)
        inside = place if place.endswith(os.sep) else place + os.sep
        own: Any = self
        asked = {name: value for name, value in options.items() if name in _FOR_REQUESTS}
        if _hooks.is_function(asked.get("auth")):
            del asked["auth"]  # called for each; of no importance for the schedule
        batch = _offloop.Batch(
            own,
            asked,
            limit=count("limit", limit),
            per_host=count("per_host", per_host),
            adaptive=False,
            rate=pace(rate),
            ordered=False,
            dedupe=False,
            save_to=None,
            # A download is worth more than a request: no need to know many before they can begin.
            ahead=count("limit", limit),
            by_owner=True,
        )

        def begin(index: int, url: Any) -> Job[Saved]:
            return self._begun(url, inside, options, (batch, index))

        sending = (begin, lambda saved: saved.bytes)
        return _downloaded(FetchAll(batch, urls, raising=raising, sending=sending))


async def _downloaded(results: FetchAll) -> AsyncGenerator[Downloaded, None]:
    async with results:
        async for got in results:
            given = got._given
            url = given if isinstance(given, str) else got.url
            yield Downloaded(got.index, url, got._result, got.error)


def downloads(  # noqa: PLR0913 - each is optional
    urls: Iterable[str] | AsyncIterable[str],
    folder: StrPath,
    *,
    limit: int = 8,
    per_host: int = 4,
    rate: float | None = None,
    on_error: Literal["return", "raise"] = "return",
    **options: Unpack[DownloadOptions],
) -> AsyncGenerator[Downloaded, None]:
    """Give a `Downloaded` for each of `urls`, as they end, to whoever iterates over it.

    It uses a client that the whole process shares; everything else is as `Client.downloads` says.

    >>> async for got in downloads([server + "/1k"], folder):
    ...     print(got.saved.path.name)
    1k
    """
    from offloop.fetch import default_client

    return default_client().downloads(
        urls, folder, limit=limit, per_host=per_host, rate=rate, on_error=on_error, **options
    )


def download(
    url: str, path: StrPath | None = None, **options: Unpack[DownloadOptions]
) -> Job[Saved]:
    """Awaiting it gives a `Saved`: the file at `path` is there, and whole.

    It uses a client that the whole process shares; everything else is as `Client.download` says.

    >>> saved = await download(server + "/1k", folder)
    >>> saved.bytes
    1024
    """
    from offloop.fetch import default_client

    return default_client().download(url, path, **options)


def _order(path: StrPath | None, options: DownloadOptions) -> dict[str, Any]:
    """Check the options, and give them all."""
    limit = options.get("max_bytes")
    return {
        "path": None if path is None else fspath(path),
        "temporary": tempfile.gettempdir(),
        "checksum": options.get("checksum"),
        "connections": _count("connections", options.get("connections", 1), 1, _MOST_CONNECTIONS),
        "min_part": _count("min_part", options.get("min_part", _MIN_PART), 1),
        "max_bytes": None if limit is None else _count("max_bytes", limit, 0),
        "resume": _flag("resume", options.get("resume", True)),
        "overwrite": _flag("overwrite", options.get("overwrite", False)),
        "durable": _flag("durable", options.get("durable", False)),
        "server_name": _flag("server_name", options.get("server_name", False)),
    }


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return value


def _count(name: str, value: int, lowest: int, highest: int = 2**63 - 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be {lowest} to {highest}, not {value}")
    return value


_lifecycle.make_ready()
