"""What a worker does for `fetch_all(workers=…)`: it fetches a list, and gives what is known of it.

Runs in a thread of the worker's, in a loop of its own; all lists of one process share its runtime,
and those of one `fetch_all` a client, so that connections are kept from list to list.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from offloop.exceptions import NotPicklable

if TYPE_CHECKING:
    from offloop.fetch import Client

Packed: TypeAlias = tuple[Any, Any, "Exception | None", int]
"""What was asked and what was answered, as `Fetched._pack` packs them; the error; bytes."""

_KEPT = 4
"""Calls of `fetch_all` whose clients a worker keeps; arbitrary."""
_lock = threading.Lock()
_clients: dict[str, tuple[Client, dict[str, Any]]] = {}


def fetch_list(run: str, order: bytes, given: list[Any], limit: int, again: bool) -> list[Packed]:
    """Fetch `given`, `limit` at once, by the pickled client and options of `order`."""
    client, options = _client(run, order)
    return asyncio.run(_fetch(client, options | {"limit": limit}, given, again=again))


async def _fetch(client: Client, options: Any, given: list[Any], *, again: bool) -> list[Packed]:
    # Not before: it imports `_fleet`, which imports this.
    from offloop import batch

    async with batch.fetch_all(client, given, options | {"ordered": True}, again=again) as results:
        return [_packed(got) async for got in results]


def _packed(got: Any) -> Packed:
    _, asked, answer, error = got._pack()
    received = got.response.num_bytes_downloaded if got.response is not None else 0
    return asked, answer, _portable(error), received


def _portable(error: Exception | None) -> Exception | None:
    """Give the error, or one that says what it was if it cannot travel."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever keeps it here
        return NotPicklable(f"{type(error).__name__}: {error}", type_name=type(error).__name__)
    return error


def _client(run: str, order: bytes) -> tuple[Client, dict[str, Any]]:
    """Give the client of a `fetch_all`, made when its first list comes."""
    with _lock:
        if run not in _clients:
            _clients[run] = pickle.loads(order)  # noqa: S301 - made by `Fleet`
            while len(_clients) > _KEPT:
                old, _ = _clients.pop(next(iter(_clients)))
                old.close()  # what is under way goes on
        return _clients[run]
