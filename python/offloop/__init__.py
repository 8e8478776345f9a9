"""offloop: one awaitable for everything that would block or crowd asyncio's event loop."""

from offloop import _bridge, _lifecycle
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

# Here and not at first use: a daemon thread that is in the middle of an import, with a Rust frame
# below it, when the interpreter ends would take the process along.
_bridge.prepare()
_lifecycle.install_fork_hook()
_lifecycle.install_exit_hook()
