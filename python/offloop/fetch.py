"""Fetching: `Client`, and `fetch` for those who need no client of their own."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Self

from offloop import _hooks, _lifecycle, _offloop, batch
from offloop._hooks import hooked_class, is_function, unhooked_class
from offloop.download import Downloads
from offloop.exceptions import InsecureWarning

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Unpack

    from offloop._many import Source
    from offloop._offloop import Job, Response
    from offloop.options import ClientOptions, FetchAllOptions, RequestOptions

_default: Client | None = None


class Client(Downloads, _offloop.Client):
    """An HTTP client that keeps its connections.

    One client serves any number of event loops and threads, at once or one after another. The
    ``async with`` is optional and `close` is idempotent. For a single request use `fetch`.

    Parameters (all keyword-only)
        base_url: str, goes in front of URLs that are only a path.
        headers: mapping or pairs, sent with every request; params: the same for the query.
        cookies: False; True or an `offloop.Cookies` for a jar with the public-suffix list; or a
            mapping that is sent with every request to the origin it is made to.
        auth: ``(user, password)``, `BasicAuth`, `BearerAuth`, `DigestAuth`, or a function that
            takes the `Request` and returns headers to add. It is for the origin of the request
            alone, and never travels to another.
        timeout: total seconds per request (float, int or timedelta; default 300; None: no end),
            or an `offloop.Timeout` with a limit for each phase.
        limits: `offloop.Limits`; default 100 connections, 20 per host, kept idle for 30 s.
        retries: int or `offloop.Retry`; default 0. Only idempotent methods are tried again.
        retry_stale: send an idempotent request once more if its kept-alive connection turns out
            to be closed; default True.
        follow_redirects: follow 301, 302, 303, 307 and 308 of GET, HEAD and OPTIONS; default
            True. max_redirects: default 10.
        cross_origin_headers: names of headers that may travel to a foreign origin, besides
            Accept, Accept-Encoding, Accept-Language, If-Range, Range and User-Agent.
        http1, http2: what may be spoken; default both, HTTP/2 where TLS agrees on it. With
            http1=False HTTP/2 is spoken at once, in the clear too. There is no HTTP/3 yet.
        proxy: "http://…", "https://…", "socks5://…" or "socks5h://…", with user and password if
            it wants them. trust_env: take proxies and root certificates from the environment
            (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR), and
            nothing else; default True.
        verify: True, the path of a PEM file or folder with root certificates, or False.
        cert: path of a PEM file with certificate and key, or of both. pin: "sha256/BASE64" of
            the server's public key, or several.
        max_body: largest body in bytes; default 64 MiB, None for no limit; streams have none.
        max_decompression_ratio: how many times larger a body may get when decoded, beyond its
            first 8 MiB; default 1100, None for any.
        resolve: mapping from host to the address that is to be dialled.
        uds: path of a unix socket that is dialled instead.
        guard: True or an `offloop.Guard`: refuses addresses that are not public.
        hooks: ``{"request": [...], "response": [...]}``, functions of the request before it goes
            out and of the response before it is handed over. Plain ones run in the caller's thread
            and in the loop's; async ones are awaited, one after the other, in a task of the loop.
            What they raise is the request's error.
        transport: of `offloop.testing`.

    Raises `InvalidURL`, `InvalidHeader`, `TypeError` and `ValueError` at once for arguments that
    cannot be used.

    Thread safety: all methods may be called from any thread. Pickling takes the configuration
    along, credentials included, and no connections.

    >>> async with Client(base_url=server) as client:
    ...     response = await client.get("/1k")
    >>> response.status_code, len(response.content)
    (200, 1024)
    """

    def __new__(cls, **options: Unpack[ClientOptions]) -> Self:
        """Make the engine; functions of the user's are kept for the Python side."""
        engine = {name: value for name, value in options.items() if name != "hooks"}
        watched = bool(options.get("hooks")) or _hooks.observer is not None
        hooked = is_function(engine.get("auth")) or watched
        if is_function(engine.get("auth")):
            del engine["auth"]
        kind: Any = hooked_class(cls) if hooked else cls
        made: Self = super().__new__(kind, **engine)
        return made

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        super().__init__()
        self._options = options
        if options.get("verify") is False:
            text = "verify=False: this client believes any server; whoever listens can pose as it"
            warnings.warn(text, InsecureWarning, stacklevel=2)

    def head(self, url: str, **options: Unpack[RequestOptions]) -> Job[Response]:
        """Make the Job of one HEAD request."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Unpack[RequestOptions]) -> Job[Response]:
        """Make the Job of one OPTIONS request."""
        return self.request("OPTIONS", url, **options)

    def post(self, url: str, **options: Unpack[RequestOptions]) -> Job[Response]:
        """Make the Job of one POST request."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[RequestOptions]) -> Job[Response]:
        """Make the Job of one PUT request."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[RequestOptions]) -> Job[Response]:
        """Make the Job of one PATCH request."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Unpack[RequestOptions]) -> Job[Response]:
        """Make the Job of one DELETE request."""
        return self.request("DELETE", url, **options)

    def fetch_all(self, requests: Source, **options: Unpack[FetchAllOptions]) -> batch.FetchAll:
        """Give a `Fetched` for each of many requests: ``async for got in client.fetch_all(…)``.

        For hundreds of URLs and more: they are pulled as they are needed, from a list, a
        generator of ten million or an asynchronous one, and cost no Task, no coroutine and no
        future each. Memory depends on `limit`, not on their number. For a few requests, or those
        that need arguments of their own, `asyncio.gather` over `get` does as well.

        Parameters (all but the first keyword-only)
            requests: iterable or async iterable of URLs (``str``) or `Request`s. It runs in the
                loop's thread, in a task of its own; a generator is closed when it is not needed
                any more. What is no valid URL is a result with an error.
            limit: requests under way at once; default 100.
            per_host: requests under way to one host at once, redirects included; default 20.
                ``"auto"`` finds out how many are good for each host, from its latency and its
                429s and 503s.
            rate: requests that are started per second and host, retries included; default: no
                limit.
            ordered: results come in the order of `requests`; default False: as they are finished.
            on_error: ``"return"`` (default) puts what went wrong into `Fetched.error`;
                ``"raise"`` raises it, and stops. A status of 4xx or 5xx is no error.
            dedupe: leave out what has the same method, URL (without fragment) and headers as
                something before; default False. It remembers some 40 bytes for each URL.
            save_to: folder into which the bodies go, without passing through Python; made if it
                is missing. `Fetched.path` is the file, named after the last segment of the URL;
                where there is one of that name, a hash of the URL is added, and no file is ever
                replaced. Only bodies of 2xx are saved. A name that is not safe is the error
                `UnsafeFilename`, and then nothing is asked for.
            progress: as for `download`: True, a function of a `Progress`, or a bar like tqdm's,
                which moves by requests.
            workers: a ``concurrent.futures.Executor``, such as ``ProcessPoolExecutor``,
                `offloop.Pool` or `offloop.Pool.dask`, whose workers make the requests, each with
                a runtime and connections of its own; default None: this process does. Everything
                but the bodies comes back, so `save_to` goes well with it. See below.
            Those of `get` hold for all of them: params, headers, cookies, auth, timeout (of each
                request, from its start), follow_redirects, retries, max_body.

        Hooks, and a function as `auth`, are called for each request when its turn has come, in the
        loop's thread and in the context of this call. Such requests cost a Job each.

        With `workers`, URLs travel in lists of some hundred; those of a host go to one worker at
        a time, so that `limit`, `per_host` and `rate` hold all the same, but for redirects to
        another host, which the worker follows by itself. Client and options have to pickle, and
        processes must not be forked. A list that its worker has lost goes to another one, up to
        three times; what is not idempotent in it, and what is left at last, has the error
        `WorkerDied`. Each URL is reported once, though it may have been asked for twice, and a
        file that a lost worker had saved stays under its name.

        Hosts share `limit` evenly, however slow some are. A request that waits to be tried again
        takes no place, and a host that sends ``Retry-After`` is left alone for as long as it asks,
        if `retries` are allowed or `per_host` is ``"auto"``. If the client was made with
        ``limits=``, these hold too; otherwise the numbers above are all that limits it.

        Iterating raises what `requests` raised, after everything before has been delivered; and
        `Closed`, `ForkedProcessError`. `on_error="raise"` raises what `get` would. At once:
        TypeError and ValueError for arguments that cannot be used.

        Cancellation: when the loop over it is left, however that happens, requests under way are
        dropped and their connections closed, and `requests` is closed. To have that done before
        the next line, use ``async with client.fetch_all(…) as results``.

        Thread safety: the client may be shared; what this gives belongs to one loop.

        >>> async with Client(base_url=server) as client:
        ...     async for got in client.fetch_all((f"/1k?{n}" for n in range(3)), ordered=True):
        ...         print(got.index, got.response.status_code if got.response else got.error)
        0 200
        1 200
        2 200
        """
        return batch.fetch_all(self, requests, options)

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

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (unhooked_class(type(self)), self._options)


def _rebuild(kind: type[Client], options: ClientOptions) -> Client:
    return kind(**options)


def fetch(url: str, *, method: str = "GET", **options: Unpack[RequestOptions]) -> Job[Response]:
    """Awaiting it gives the `Response` to one request, its body read.

    It uses a client that the whole process shares. For a base URL, common headers or other
    limits make a `Client`.

    `url` is absolute, http or https. `options`: params, headers, cookies, content, data, files,
    json, auth, timeout (seconds in total, default 300), follow_redirects, retries, max_body
    (bytes).

    Raises: at once `InvalidURL`, `InvalidHeader`, `InvalidBody`; from the await `ConnectError` and
    its `DNSError`, `TLSError` and `ProxyError`; `FetchTimeout` and its kinds by phase;
    `ProtocolError` and its `TruncatedBody` and `HeadersTooLarge`; `DecodeError`,
    `BodyTooLarge`, `RedirectError`, `ForkedProcessError`. A status of 4xx or 5xx is a response,
    not an error: see `Response.raise_for_status`.

    Cancellation: the request is dropped at once and its connection closed.

    Thread safety: may be called from any thread.

    >>> response = await fetch(server + "/1k")
    >>> response.status_code
    200
    """
    client = _default or default_client()
    if method == "GET":
        return client.get(url, **options)
    return client.request(method, url, **options)


def fetch_all(requests: Source, **options: Unpack[FetchAllOptions]) -> batch.FetchAll:
    """Give a `Fetched` for each of many requests, as they are finished.

    It uses the client that the whole process shares; everything else is as `Client.fetch_all`
    says, where the parameters, what is raised, and cancellation are explained.

    >>> async for got in fetch_all([server + "/1k", "no URL"], ordered=True):
    ...     print(got.response.status_code if got.response else type(got.error).__name__)
    200
    InvalidURL
    """
    client = _default or default_client()
    return client.fetch_all(requests, **options)


def default_client() -> Client:
    """Give the client that the whole process shares."""
    global _default  # noqa: PLW0603 - one client for the process, made when it is needed
    # Without a lock, which a fork could leave locked: of two made at once, one is forgotten.
    if _default is None:
        _default = Client()
    return _default


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: old or new content, never a mixture."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


_lifecycle.make_ready()
