"""The options of clients and requests: small immutable values that say what is wanted.

A class checks what it is given when it is made, so that a mistake is found where it stands.
Nothing here does anything: Rust reads the attributes, and what is short for one of these classes.

Every class is frozen, can be compared, hashed, pickled and shared by threads. Durations are
seconds as int, float or timedelta, and are kept as float. This module imports nothing of offloop
but its checks and exceptions.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import (
    IO,
    TYPE_CHECKING,
    Final,
    Literal,
    Protocol,
    TypeAlias,
    TypedDict,
)

from offloop import _checks as check
from offloop._checks import Checked
from offloop.exceptions import InvalidHeader

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from offloop import Cookies, Request, Response
    from offloop.progress import Wanted as ProgressWanted


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = enum.auto()

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Stands for an argument that was left out, where None has a meaning of its own."""

Duration: TypeAlias = check.Duration
"""Seconds, or a timedelta."""

_Limit: TypeAlias = Checked[Duration | None, float | None]
_Bound: TypeAlias = Checked[int | None, int | None]


@dataclass(frozen=True, kw_only=True)
class Timeout:
    """How long the phases of a request may take, each in seconds; None switches one off.

    Where a Timeout is expected a plain number is its `total`.

    Parameters (all keyword-only)
        total: everything together: queue, redirects, retries and body; default 300. The default
            ends at the head of a streamed response, one given by the caller covers its body too.
        pool: for a free place among the client's connections; default 60.
        connect: DNS, TCP, proxy and TLS of one connection; default 10.
        read: for the head of the response, then between two pieces of its body; default 30.
        write: between two pieces of the request's body; default 30.
        stall: (bytes per second, seconds): a body that stays slower for that long is given up;
            default (1024, 60).

    Raises TypeError for what is no duration, ValueError for one that is not positive and finite.

    >>> Timeout(connect=2.5, total=None).connect
    2.5
    """

    total: _Limit = Checked(300.0, check.limit)
    pool: _Limit = Checked(60.0, check.limit)
    connect: _Limit = Checked(10.0, check.limit)
    read: _Limit = Checked(30.0, check.limit)
    write: _Limit = Checked(30.0, check.limit)
    stall: Checked[tuple[int, Duration] | None, tuple[int, float] | None] = Checked(
        (1024, 60.0), check.stall
    )


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When a request that failed is sent again. ``retries=3`` is short for ``Retry(attempts=3)``.

    A body that cannot be produced again is never sent again.

    Parameters (all keyword-only)
        attempts: how often it is sent again, after the first time; default 3, 0 for never.
        statuses: the answers that count as a failure; default 429, 500, 502, 503, 504.
        methods: the methods that may be sent again; default None: the idempotent ones
            (RFC 9110 §9.2.2).
        backoff: seconds. Before the n-th retry it waits a random time from 0 to
            ``backoff * 2 ** (n - 1)`` ("full jitter",
            https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/);
            default 0.1.
        respect_retry_after: wait as long as the server's ``Retry-After`` asks; default True.
        max_wait: the longest wait in seconds, whoever asks for it; default 60.
        budget: retries per request of the whole client, 0 to 1, as in tower; default 0.2.

    Raises TypeError and ValueError for what is not of that kind.

    >>> Retry(attempts=5, methods=["get", "POST"]).methods
    ('GET', 'POST')
    """

    attempts: Checked[int, int] = Checked(3, check.count(0))
    statuses: Checked[Iterable[int], tuple[int, ...]] = Checked(
        (429, 500, 502, 503, 504), check.several(check.count(100, 599))
    )
    methods: Checked[Iterable[str] | None, tuple[str, ...] | None] = Checked(None, check.methods)
    backoff: Checked[Duration, float] = Checked(0.1, check.wait)
    respect_retry_after: Checked[bool, bool] = Checked(default=True, convert=check.flag)
    max_wait: Checked[Duration, float] = Checked(60.0, check.wait)
    budget: Checked[float, float] = Checked(0.2, check.share)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of everything a client uses at once; None stands for no limit.

    Parameters (all keyword-only)
        connections: open connections of the client; default 100.
        per_host: open connections to one host; default 20.
        idle: seconds after which a connection nobody used is closed; default 30.
        requests: requests under way, until their bodies have ended; default None.
        per_host_requests: the same for one host; default None.
        rate: requests per second and host; default None.

    Those who wait for a place get it in the order in which they came.

    Raises TypeError and ValueError for what is not of that kind.

    >>> Limits(rate=50).connections
    100
    """

    connections: _Bound = Checked(100, check.bound)
    per_host: _Bound = Checked(20, check.bound)
    idle: _Limit = Checked(30.0, check.limit)
    requests: _Bound = Checked(None, check.bound)
    per_host_requests: _Bound = Checked(None, check.bound)
    rate: Checked[float | None, float | None] = Checked(None, check.rate)


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Keeps a client that fetches foreign URLs away from private and local networks.

    ``guard=True`` is short for ``Guard()``. What is not public and not allowed here fails with
    `offloop.BlockedAddress`, whatever name or redirect led to it.

    Parameters (all keyword-only)
        ports: the ports that may be dialled; default 80 and 443.
        allow: networks that may be dialled although they are not public, for instance
            ``["10.1.2.0/24", "127.0.0.2/32"]``; default none. Kept as str.

    Raises TypeError, and ValueError for what is no port or no network.

    >>> Guard(allow=["127.0.0.2"]).allow
    ('127.0.0.2/32',)
    """

    ports: Checked[Iterable[int], tuple[int, ...]] = Checked(
        (80, 443), check.several(check.count(1, 65535))
    )
    allow: Checked[Iterable[check.Network], tuple[str, ...]] = Checked(
        (), check.several(check.network)
    )


class _Hidden:
    def __repr__(self) -> str:
        # The user, too, is left out: many services take a secret key in its place.
        return f"{type(self).__name__}(***)"


@dataclass(frozen=True, repr=False)
class _Login(_Hidden):
    user: str
    password: str

    def __post_init__(self) -> None:
        check.secret("user", self.user)
        check.secret("password", self.password)
        if ":" in self.user:
            raise InvalidHeader("user has a colon, which separates it from the password")


@dataclass(frozen=True, repr=False)
class BasicAuth(_Login):
    """User and password, sent as they are with every request (RFC 7617), encoded as UTF-8.

    ``auth=("user", "password")`` is short for it. Use it over https only. `repr` shows neither;
    a pickle holds both.

    Raises TypeError for what is not str, `InvalidHeader` for a control character, a lone surrogate,
    or a colon in `user`.

    >>> BasicAuth("ann", "secret")
    BasicAuth(***)
    """


@dataclass(frozen=True, repr=False)
class DigestAuth(_Login):
    """User and password, proved in answer to the server's challenge (RFC 7616).

    The password itself is not sent. `repr` shows neither; a pickle holds both.

    Raises TypeError for what is not str, `InvalidHeader` for a control character, a lone surrogate,
    or a colon in `user`.

    >>> DigestAuth("ann", "secret")
    DigestAuth(***)
    """


@dataclass(frozen=True, repr=False)
class BearerAuth(_Hidden):
    """A token, sent as it is with every request (RFC 6750).

    Use it over https only. `repr` does not show it; a pickle holds it.

    Raises TypeError for what is not str, `InvalidHeader` unless all is visible ASCII.

    >>> BearerAuth("eyJhbGciOi")
    BearerAuth(***)
    """

    token: str

    def __post_init__(self) -> None:
        check.secret("token", self.token)
        if not self.token or not self.token.isascii() or " " in self.token:
            raise InvalidHeader("token must be one or more visible ASCII characters")


@dataclass(frozen=True, kw_only=True, repr=False)
class Attempt:
    """What one try of a request got: see `Response.attempts` and `FetchError.attempts`.

    Attributes (all readable)
        url: where it went; `repr` shows it without user info and query.
        status: the status of the answer, or None if there was none.
        error: class and text of what went wrong, or None.
        reused: whether the connection had been used before.
        took: seconds.
    """

    url: str
    status: int | None = None
    error: str | None = None
    reused: bool = False
    took: float = 0.0

    def __repr__(self) -> str:
        outcome = self.error if self.status is None else self.status
        reused = ", reused" if self.reused else ""
        return f"<Attempt {_redacted(self.url)} {outcome}{reused}, {self.took:.3f} s>"


def _redacted(url: str) -> str:
    shown = url.partition("#")[0].partition("?")[0]
    scheme, separator, rest = shown.partition("://")
    if not separator:
        return shown
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


class Transport(Protocol):
    """Where all connections of a client go in a test: an object of `offloop.testing`."""

    @property
    def address(self) -> str: ...  # noqa: D102 - "127.0.0.1:port", dialled whatever the URL says


Scalar: TypeAlias = str | int | float | bool | None
"""What stands in a query or a form: None is empty, bools are ``true`` and ``false``."""

_Scalars: TypeAlias = Scalar | Sequence[Scalar]
Params: TypeAlias = Mapping[str, _Scalars] | Iterable[tuple[str, _Scalars]]
HeaderLines: TypeAlias = (
    Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes]]
)
Credentials: TypeAlias = tuple[str, str] | BasicAuth | BearerAuth | DigestAuth
Auth: TypeAlias = Credentials | Callable[["Request"], Mapping[str, str] | None]
StrPath: TypeAlias = str | PathLike[str]
Chunk: TypeAlias = bytes | bytearray | memoryview
Streamed: TypeAlias = IO[bytes] | Iterable[Chunk] | AsyncIterable[Chunk]
Content: TypeAlias = Chunk | str | PathLike[str] | Streamed
Form: TypeAlias = Mapping[str, object] | Iterable[tuple[str, object]]
FileValue: TypeAlias = (
    Content
    | tuple[str | None, Content]
    | tuple[str | None, Content, str | None]
    | tuple[str | None, Content, str | None, Mapping[str, str]]
)
Files: TypeAlias = Mapping[str, FileValue] | Iterable[tuple[str, FileValue]]


class Hooks(TypedDict, total=False):
    """Functions, plain or async, that see every request and every response."""

    request: Sequence[Callable[[Request], object]]
    response: Sequence[Callable[[Response], object]]


@dataclass(frozen=True)
class Saved:
    """A file that was downloaded, and is whole.

    `path` is where it is; `bytes` how long it is; `checksum` "sha256:HEX" or of another kind, if
    one was wanted or the server gave one; `resumed_from` how many bytes were there from an earlier
    call; `seconds` how long it took.
    """

    path: Path
    bytes: int
    checksum: str | None
    resumed_from: int
    seconds: float


@dataclass(frozen=True)
class Downloaded:
    """What became of one of many downloads: `saved` or `error`, of the `index`-th `url`."""

    index: int
    url: str
    saved: Saved | None
    error: Exception | None


class RequestOptions(TypedDict, total=False):
    """The options of one request; one that is left out is the client's."""

    params: Params | None
    headers: HeaderLines | None
    cookies: Mapping[str, str] | None
    content: Content | None
    data: Form | Chunk | str | None
    files: Files | None
    json: object
    auth: Auth | None
    timeout: Timeout | Duration | None
    follow_redirects: bool | None
    retries: int | Retry | None
    max_body: int | None


class FetchAllOptions(RequestOptions, total=False):
    """The options of many requests at once; `offloop.Client.fetch_all` says what each does."""

    limit: int | None
    per_host: int | Literal["auto"] | None
    rate: float | None
    ordered: bool
    on_error: Literal["return", "raise"]
    dedupe: bool
    save_to: StrPath | None
    progress: ProgressWanted
    workers: Executor | None


class ClientOptions(TypedDict, total=False):
    """The options of a client; `offloop.Client` says what each does."""

    base_url: str | None
    headers: HeaderLines | None
    params: Params | None
    cookies: bool | Mapping[str, str] | Cookies
    auth: Auth | None
    timeout: Timeout | Duration | None
    limits: Limits | None
    retries: int | Retry
    retry_stale: bool
    follow_redirects: bool
    max_redirects: int
    http1: bool
    http2: bool
    proxy: str | None
    trust_env: bool
    verify: bool | StrPath
    cert: StrPath | tuple[StrPath, StrPath] | None
    pin: str | Sequence[str] | None
    max_body: int | None
    max_decompression_ratio: float | None
    cross_origin_headers: Collection[str]
    resolve: Mapping[str, str] | None
    uds: StrPath | None
    guard: Literal[True] | Guard | None
    hooks: Hooks | None
    transport: Transport | None
