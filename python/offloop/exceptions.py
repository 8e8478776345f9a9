"""Everything offloop raises.

::

    OffloopError
    ├── FetchError                      url, phase
    │   ├── InvalidURL                  (ValueError)
    │   ├── InvalidHeader               (ValueError)
    │   ├── ConnectError                (ConnectionError)
    │   │   ├── DNSError
    │   │   └── TLSError
    │   ├── FetchTimeout                (TimeoutError)
    │   │   ├── ConnectTimeout
    │   │   └── TotalTimeout
    │   ├── ProtocolError
    │   │   └── TruncatedBody
    │   ├── BodyTooLarge
    │   ├── RedirectError
    │   │   ├── TooManyRedirects
    │   │   ├── InvalidRedirect
    │   │   └── InsecureRedirect
    │   └── StatusError                 response
    ├── OffloadError
    │   ├── PoolFull
    │   └── ResourceExhausted           (OSError)
    ├── LifecycleError                  (RuntimeError)
    │   ├── Closed
    │   └── ForkedProcessError
    └── InternalError                   a bug in offloop

Each can be pickled, keeps its fields, and has the builtin base named beside it. Messages show
URLs without user info and query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offloop._offloop import Response


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

    `url` is the URL without user info and query; `phase` is ``"connect"``, ``"head"``,
    ``"body"`` or None.
    """

    def __init__(self, *args: Any, url: str | None = None, phase: str | None = None) -> None:
        super().__init__(*args)
        self.url = url
        self.phase = phase


class InvalidURL(FetchError, ValueError):
    """The URL is not one that can be dialled exactly as it is written."""


class InvalidHeader(FetchError, ValueError):
    """A method, header name or value that would not survive the wire."""


class ConnectError(FetchError, ConnectionError):
    """There is no connection: refused, unreachable, reset. `errno` is the system's."""


class DNSError(ConnectError):
    """The host name does not resolve."""


class TLSError(ConnectError):
    """The TLS handshake failed, or the certificate is not trusted."""


class FetchTimeout(FetchError, TimeoutError):
    """A phase of the request took longer than allowed."""


class ConnectTimeout(FetchTimeout):
    """DNS, TCP and TLS together took longer than the connect timeout."""


class TotalTimeout(FetchTimeout):
    """The request took longer than its timeout, redirects and body included."""


class ProtocolError(FetchError):
    """The server broke the rules of HTTP."""


class TruncatedBody(ProtocolError):
    """The body ended before its announced end."""


class BodyTooLarge(FetchError):
    """The body is larger than `max_body`."""


class RedirectError(FetchError):
    """A redirect that cannot or must not be followed."""


class TooManyRedirects(RedirectError):
    """More redirects than `max_redirects`."""


class InvalidRedirect(RedirectError):
    """A ``Location`` that is no honest URL, or carries credentials."""


class InsecureRedirect(RedirectError):
    """A redirect from https to http."""


class StatusError(FetchError):
    """`Response.raise_for_status` found a 4xx or 5xx; `response` is the whole response.

    A pickled StatusError leaves the response behind.
    """

    def __init__(
        self, *args: Any, url: str | None = None, response: Response | None = None
    ) -> None:
        super().__init__(*args, url=url)
        self.response = response

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {**self.__dict__, "response": None}
        return _rebuild, (type(self), self.args, fields, None)


class OffloadError(OffloopError):
    """A call could not be offloaded."""


class PoolFull(OffloadError):
    """As many calls as the queue holds already wait for a worker."""


class ResourceExhausted(OffloadError, OSError):
    """The operating system refuses one more thread or descriptor; `errno` says which."""


class LifecycleError(OffloopError, RuntimeError):
    """Something was used before or after its time."""


class Closed(LifecycleError):
    """The client or the pool has been closed, or the interpreter is exiting."""


class ForkedProcessError(LifecycleError):
    """This process was forked while offloop was at work in its parent."""


class InternalError(OffloopError):
    """Rust code panicked: a bug in offloop. The interpreter goes on unharmed."""
