"""Everything offloop raises.

::

    OffloopError
    ├── FetchError                      url, phase, request, attempts, history
    │   ├── InvalidURL                  (ValueError)
    │   ├── InvalidHeader               (ValueError)
    │   ├── InvalidBody                 (ValueError)
    │   ├── ConnectError                (ConnectionError) errno, addresses
    │   │   ├── DNSError
    │   │   ├── TLSError
    │   │   ├── ProxyError
    │   │   └── BlockedAddress
    │   ├── FetchTimeout                (TimeoutError) seconds
    │   │   ├── PoolTimeout
    │   │   ├── ConnectTimeout
    │   │   ├── ReadTimeout
    │   │   ├── WriteTimeout
    │   │   ├── TotalTimeout
    │   │   └── Stalled
    │   ├── ProtocolError
    │   │   ├── TruncatedBody           received, expected
    │   │   └── HeadersTooLarge
    │   ├── DecodeError
    │   ├── BodyTooLarge                limit
    │   ├── RedirectError
    │   │   ├── TooManyRedirects
    │   │   ├── InvalidRedirect
    │   │   ├── InsecureRedirect
    │   │   └── UnreplayableBody
    │   └── StatusError                 response
    ├── DownloadError                   url, path
    │   ├── ChecksumMismatch            expected, actual
    │   ├── RangeMismatch
    │   ├── UnsafeFilename              (ValueError)
    │   └── DownloadInProgress
    ├── OffloadError
    │   ├── PoolFull                    pool, limit
    │   ├── WorkerDied                  pid, exit_code, signal
    │   ├── NotPicklable                (TypeError) what, type_name
    │   ├── WouldDeadlock
    │   ├── JobTimeout                  (TimeoutError) queued, ran, stack
    │   ├── PlaceUnavailable
    │   └── ResourceExhausted           (OSError) errno
    ├── LifecycleError                  (RuntimeError)
    │   ├── Closed
    │   └── ForkedProcessError
    ├── InvalidChecksum                 (ValueError)
    └── InternalError                   a bug in offloop

Each can be pickled, keeps its fields, and has the builtin base named beside it. Messages show
URLs without user info and query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from offloop._offloop import Request, Response
    from offloop.options import Attempt


class OffloopError(Exception):
    """Base of all errors offloop raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        errno = self.errno if isinstance(self, OSError) else None
        return _rebuild, (type(self), self.args, self.__dict__, errno)


def _rebuild(
    cls: type[OffloopError], args: tuple[Any, ...], fields: dict[str, Any], errno: int | None
) -> OffloopError:
    error = cls(*args)
    error.__dict__.update(fields)
    if errno is not None and isinstance(error, OSError):
        error.errno = errno
    return error


class FetchError(OffloopError):
    """A request failed.

    `url` is the URL without user info and query; `phase` is ``"queue"``, ``"connect"``,
    ``"send"``, ``"head"``, ``"body"`` or None; `request` is the request that failed, redirects
    followed; `attempts` tells what each try got; `history` are the URLs that redirected there.
    """

    def __init__(
        self,
        *args: Any,
        url: str | None = None,
        phase: str | None = None,
        request: Request | None = None,
        attempts: Sequence[Attempt] = (),
        history: Sequence[str] = (),
    ) -> None:
        super().__init__(*args)
        self.url = url
        self.phase = phase
        self.request = request
        self.attempts: list[Attempt] = list(attempts)
        self.history: list[str] = list(history)


class InvalidURL(FetchError, ValueError):
    """The URL is not one that can be dialled exactly as it is written."""


class InvalidHeader(FetchError, ValueError):
    """A method, header name or value that would not survive the wire."""


class InvalidBody(FetchError, ValueError):
    """A request's body that no bytes stand for: text with a lone surrogate, NaN in JSON."""


class ConnectError(FetchError, ConnectionError):
    """There is no connection: refused, unreachable, reset. `errno` is the system's.

    `addresses` are pairs: each address that was dialled, and what came of it.
    """

    addresses: Sequence[tuple[str, str]] = ()


class DNSError(ConnectError):
    """The host name does not resolve."""


class TLSError(ConnectError):
    """The TLS handshake failed, or the certificate is not trusted."""


class ProxyError(ConnectError):
    """The proxy cannot be reached, refuses, or wants other credentials."""


class BlockedAddress(ConnectError):
    """The client's guard forbids this address, port or host."""


class FetchTimeout(FetchError, TimeoutError):
    """A phase of the request took longer than allowed: longer than `seconds`."""

    seconds: float = 0.0


class PoolTimeout(FetchTimeout):
    """No connection of the client's limits came free in time."""


class ConnectTimeout(FetchTimeout):
    """DNS, TCP, proxy and TLS together took longer than the connect timeout."""


class ReadTimeout(FetchTimeout):
    """The server sent nothing for longer than the read timeout."""


class WriteTimeout(FetchTimeout):
    """The request's body made no progress for longer than the write timeout."""


class TotalTimeout(FetchTimeout):
    """The request took longer than its timeout, queue, retries, redirects and body included."""


class Stalled(FetchTimeout):
    """The body came in more slowly than `Timeout.stall` allows."""


class ProtocolError(FetchError):
    """The server broke the rules of HTTP."""


class TruncatedBody(ProtocolError):
    """The body ended early: after `received` of `expected` bytes, None where nobody said."""

    received: int = 0
    expected: int | None = None


class HeadersTooLarge(ProtocolError):
    """The head of the response has more than 256 lines or 64 KiB."""


class DecodeError(FetchError):
    """The body is not in the coding it claims, or ends in the middle of it."""


class BodyTooLarge(FetchError):
    """The body is larger than `limit` bytes, or grows beyond any honest ratio when decoded."""

    limit: int | None = None


class RedirectError(FetchError):
    """A redirect that cannot or must not be followed."""


class TooManyRedirects(RedirectError):
    """More redirects than `max_redirects`."""


class InvalidRedirect(RedirectError):
    """A ``Location`` that is no honest URL, or carries credentials."""


class InsecureRedirect(RedirectError):
    """A redirect from https to http, or of a request's body to a foreign origin."""


class UnreplayableBody(RedirectError):
    """The body would have to be sent a second time, and its source can be read only once."""


class StatusError(FetchError):
    """`Response.raise_for_status` found a 4xx or 5xx; `response` is the whole response.

    A pickled StatusError leaves the response behind.
    """

    def __init__(self, *args: Any, response: Response | None = None, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.response = response

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {**self.__dict__, "response": None}
        return _rebuild, (type(self), self.args, fields, None)


class DownloadError(OffloopError):
    """A file could not be downloaded, though every request was answered.

    `url` is the URL without user info and query, `path` the file that is meant, None where that
    is not the point.
    """

    path: Path | None = None

    def __init__(self, *args: Any, url: str | None = None, phase: str | None = None) -> None:
        super().__init__(*args)
        self.url = url
        self.phase = phase


class ChecksumMismatch(DownloadError):
    """What came is not what it should be: `actual` is not `expected`, both "sha256:HEX"."""

    expected: str | None = None
    actual: str | None = None


class RangeMismatch(DownloadError):
    """What the server says about the parts it sends cannot be true, not even at the second try."""


class UnsafeFilename(DownloadError, ValueError):
    """The URL ends in nothing that could safely be the name of a file."""


class DownloadInProgress(DownloadError):
    """Another download, maybe of another process, writes to the same file: see `path`."""


class OffloadError(OffloopError):
    """A call could not be offloaded."""


class PoolFull(OffloadError):
    """As many calls as the queue of `pool` holds (`limit`) already wait for a worker."""

    pool: str | None = None
    limit: int | None = None


class WorkerDied(OffloadError):
    """The process or interpreter that ran the call has ended in the middle of it.

    `pid` is that of the process, `exit_code` what it returned, or `signal` what killed it; each
    is None where it is not known. Only the call that ran there is lost.
    """

    def __init__(
        self,
        *args: Any,
        pid: int | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
    ) -> None:
        super().__init__(*args)
        self.pid = pid
        self.exit_code = exit_code
        self.signal = signal


class NotPicklable(OffloadError, TypeError):
    """A function, an argument, a result or an exception cannot travel to or from the worker.

    `what` is the path to the part at fault, like ``"argument 1[3].lock"``, and `type_name` its
    type; each is None where it is not known.
    """

    def __init__(self, *args: Any, what: str | None = None, type_name: str | None = None) -> None:
        super().__init__(*args)
        self.what = what
        self.type_name = type_name


class WouldDeadlock(OffloadError):
    """A call waits on its own full pool: it would never be its turn."""


class JobTimeout(OffloadError, TimeoutError):
    """A call took longer than its `timeout`, or waited longer than its `queue_timeout`.

    `queued` and `ran` are seconds; `stack` are the lines where the function stood at that moment,
    outermost first, as ``traceback.format_stack`` has them, empty where that is not known. Of a
    call outside of this process it is empty: the error is raised at once, and another process
    could tell where it stands only later, if it can at all. It is killed meanwhile.
    """

    def __init__(
        self, *args: Any, queued: float = 0.0, ran: float = 0.0, stack: Sequence[str] = ()
    ) -> None:
        super().__init__(*args)
        self.queued = queued
        self.ran = ran
        self.stack: list[str] = list(stack)


class PlaceUnavailable(OffloadError):
    """This Python, or this installation, has no such place to run calls."""


class ResourceExhausted(OffloadError, OSError):
    """The operating system refuses one more thread or descriptor; `errno` says which."""


class LifecycleError(OffloopError, RuntimeError):
    """Something was used before or after its time."""


class Closed(LifecycleError):
    """The client or the pool has been closed, or the interpreter is exiting."""


class ForkedProcessError(LifecycleError):
    """This process was forked while offloop was at work in its parent."""


class InvalidChecksum(OffloopError, ValueError):
    """What is given as a checksum is none, or of an algorithm that offloop does not have."""


class InternalError(OffloopError):
    """Rust code panicked: a bug in offloop. The interpreter goes on unharmed."""


class InsecureWarning(UserWarning):
    """A client was made with ``verify=False``."""
