"""Fetching: `Client`, and `fetch` for those who need no client of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from offloop import _offloop

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from offloop._offloop import Job, Response

_default: Client | None = None


class Client(_offloop.Client):
    """An HTTP client that keeps its connections.

    One client serves any number of event loops and threads, at once or one after another. The
    ``async with`` is optional and `close` is idempotent. For a single request use `fetch`.

    Parameters (all keyword-only)
        base_url: str, goes in front of URLs that are only a path.
        headers: mapping or pairs, sent with every request.
        timeout: total seconds per request (float, int or timedelta), redirects and body
            included; default 300, None waits for ever.
        follow_redirects: follow 301, 302, 303, 307 and 308 of GET, HEAD and OPTIONS; default
            True. Secrets do not travel to a foreign origin.
        max_redirects: default 10.
        max_body: largest body in bytes; default 64 MiB, None for no limit.

    Raises `InvalidURL` and `InvalidHeader` at once for arguments that cannot be sent.

    Thread safety: all methods may be called from any thread.

    >>> async with Client(base_url=server) as client:
    ...     response = await client.get("/1k")
    >>> response.status_code, len(response.content)
    (200, 1024)
    """

    async def aclose(self) -> None:
        """Close the client; `close` does the same without an ``await``."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def fetch(url: str, *, method: str = "GET", **options: Any) -> Job[Response]:
    """Awaiting it gives the `Response` to one request, its body read.

    It uses a client that the whole process shares. For a base URL, common headers or other
    limits make a `Client`.

    `url` is absolute, http or https. `options` are those of `Client.request`: params, headers,
    content, timeout (seconds in total, default 300), follow_redirects, max_body (bytes).

    Raises: at once `InvalidURL`, `InvalidHeader`; from the await `ConnectError` and its
    `DNSError` and `TLSError`, `ConnectTimeout`, `TotalTimeout`, `ProtocolError`,
    `TruncatedBody`, `BodyTooLarge`, `RedirectError`, `ForkedProcessError`. A status of 4xx or
    5xx is a response, not an error: see `Response.raise_for_status`.

    Cancellation: the request is dropped at once and its connection closed.

    Thread safety: may be called from any thread.

    >>> response = await fetch(server + "/1k")
    >>> response.status_code
    200
    """
    client = _default or _default_client()
    if method == "GET" and "content" not in options:
        return client.get(url, **options)
    return client.request(method, url, **options)


def _default_client() -> Client:
    global _default  # noqa: PLW0603 - one client for the process, made when it is needed
    # Without a lock, which a fork could leave locked: of two made at once, one is forgotten.
    if _default is None:
        _default = Client()
    return _default
