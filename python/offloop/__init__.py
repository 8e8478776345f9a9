"""offloop: one awaitable for everything that would block or crowd asyncio's event loop."""

from offloop import _lifecycle
from offloop._offloop import Headers, Job, Response
from offloop.exceptions import (
    BodyTooLarge,
    Closed,
    ConnectError,
    ConnectTimeout,
    DNSError,
    FetchError,
    FetchTimeout,
    ForkedProcessError,
    InsecureRedirect,
    InternalError,
    InvalidHeader,
    InvalidRedirect,
    InvalidURL,
    LifecycleError,
    OffloadError,
    OffloopError,
    PoolFull,
    ProtocolError,
    RedirectError,
    ResourceExhausted,
    StatusError,
    TLSError,
    TooManyRedirects,
    TotalTimeout,
    TruncatedBody,
)
from offloop.fetch import Client, fetch
from offloop.offload import run

__all__ = [
    "BodyTooLarge",
    "Client",
    "Closed",
    "ConnectError",
    "ConnectTimeout",
    "DNSError",
    "FetchError",
    "FetchTimeout",
    "ForkedProcessError",
    "Headers",
    "InsecureRedirect",
    "InternalError",
    "InvalidHeader",
    "InvalidRedirect",
    "InvalidURL",
    "Job",
    "LifecycleError",
    "OffloadError",
    "OffloopError",
    "PoolFull",
    "ProtocolError",
    "RedirectError",
    "ResourceExhausted",
    "Response",
    "StatusError",
    "TLSError",
    "TooManyRedirects",
    "TotalTimeout",
    "TruncatedBody",
    "fetch",
    "run",
]

_lifecycle.install_fork_hook()
