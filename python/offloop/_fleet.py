"""Many requests that are made by workers: other processes, or other machines.

To `FetchAll` a `Fleet` looks as a batch of Rust's does. It shares hosts out between shards, by the
hash of their origin, and has one list of URLs of each shard on a worker at a time, whichever
worker that is: so the limits of a host hold, though nobody knows what the others do. What comes
back is all that is known of the responses but their bodies. It belongs to one loop.

A list that its worker has lost is given to another one, without what is not safe to be asked for
twice; each URL is reported once, when its list has come home or is given up.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import zlib
from collections import deque
from concurrent.futures import BrokenExecutor, Executor
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from offloop import _offloop
from offloop._fleet_work import fetch_list
from offloop.exceptions import NotPicklable, WorkerDied
from offloop.offload import to_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offloop._fleet_work import Packed
    from offloop.fetch import Client

_TRIES = 3
"""Workers that may lose a list before it is given up; arbitrary."""
_WORKERS = 4
"""Workers that an executor is taken to have which does not say how many; arbitrary."""
_ROUNDS = 8
"""Times its limit that a shard sends to a worker at once: few enough to wait for, and enough to
make one slow URL at the end cost little; arbitrary."""
_LIST_LEAST, _LIST_MOST = 32, 1024
_LIMIT, _PER_HOST = 100, 20
"""As without workers."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class _Item(NamedTuple):
    number: int
    """In the order of the source, without duplicates."""
    place: int
    """In the source."""
    given: Any
    method: str


class _Shard:
    """Some of the hosts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting = deque[_Item]()
        self.task: asyncio.Task[None] | None = None
        self.again = False
        """Its hosts may have been asked before."""


class Fleet:
    """Requests on their way to workers and back."""

    def __init__(
        self,
        client: Client,
        workers: Executor,
        of_each: Mapping[str, Any],
        of_all: Mapping[str, Any],
    ) -> None:
        if not isinstance(workers, Executor):
            kind = type(workers).__name__
            raise TypeError(f"workers must be a concurrent.futures.Executor, not {kind}")
        self._client, self._workers = client, workers
        self._ordered, self._dedupe = of_all["ordered"], of_all["dedupe"]
        self._shown = {
            name: it for name, it in of_each.items() if name in ("params", "headers", "cookies")
        }
        limit, per_host = of_all["limit"] or _LIMIT, of_all["per_host"] or _PER_HOST
        number = max(1, min(2 * _number(workers), limit // min(per_host, limit)))
        self._shards = [_Shard(limit // number + (nth < limit % number)) for nth in range(number)]
        most = self._shards[0].limit
        self._list = min(max(_ROUNDS * most, _LIST_LEAST), _LIST_MOST)
        self._ahead = 2 * number * self._list
        options = dict(of_each) | {
            "rate": of_all["rate"],
            "save_to": of_all["save_to"],
            "per_host": "auto" if of_all["adaptive"] else of_all["per_host"],
        }
        self._run = os.urandom(8).hex()
        self._order = _pickled(client, {k: it for k, it in options.items() if it is not None})
        self._seen = set[bytes]()
        self._done = deque[_offloop.Fetched]()
        self._early = dict[int, _offloop.Fetched]()
        self._next = self._index = self._numbers = self._taken = 0
        self._stats: dict[str, int] = dict.fromkeys(
            ("pulled", "finished", "failed", "bytes", "in_flight", "duplicates"), 0
        )
        self._ended = self._closed = False
        self._has_room, self._has_results = asyncio.Event(), asyncio.Event()

    def wanted(self) -> int | None:
        """Give how many more are wanted; None when none will be any more."""
        if self._closed or self._ended:
            return None
        room = max(0, self._ahead - (self._numbers - self._taken))
        if room < self._list and self._numbers > self._taken:
            room = 0  # not worth a turn
        if not room:
            self._has_room.clear()
        return room

    async def room(self) -> None:
        """Wait until more are wanted, or nobody wants any more."""
        await self._has_room.wait()

    def feed(self, given: list[Any]) -> None:
        """Take URLs and Requests in."""
        for each in given:
            index, self._index = self._index, self._index + 1
            try:
                asked = self._asked(each)
            except Exception as error:  # noqa: BLE001 - it is this one's result
                number = self._counted()
                self._finish(number, _offloop.Fetched._unpack(index, None, None, error, each))
                continue
            if self._dedupe and not self._is_new(asked):
                self._stats["duplicates"] += 1
                continue
            shard = self._shards[zlib.crc32(_origin(asked.url)) % len(self._shards)]
            shard.waiting.append(_Item(self._counted(), index, each, asked.method))
        for shard in self._shards:
            if shard.waiting and shard.task is None and not self._closed:
                serving = self._serve(shard)
                name = "fetch_all: workers"
                shard.task = asyncio.get_running_loop().create_task(serving, name=name)

    def end(self) -> None:
        """Note that there will be no more."""
        self._ended = True
        self._has_results.set()

    def take(self, most: int) -> list[_offloop.Fetched] | None:
        """Give up to `most` results; an empty list while there are none, None after the last."""
        if self._closed or (self._ended and not self._done and self._taken == self._numbers):
            return None
        some = [self._done.popleft() for _ in range(min(most, len(self._done)))]
        self._taken += len(some)
        if some:
            self._has_room.set()
        if not self._done:
            self._has_results.clear()
        return some

    async def ready(self) -> None:
        """Wait until there are results, or will be none."""
        await self._has_results.wait()

    def close(self) -> None:
        """Stop: lists that no worker has begun are taken back; what runs on a worker ends there."""
        self._closed = True
        for shard in self._shards:
            shard.waiting.clear()
            if shard.task is not None:
                shard.task.cancel()
        self._has_room.set()
        self._has_results.set()

    def stats(self) -> dict[str, int]:
        """Count what has been done: as `FetchAll.stats` says."""
        return dict(self._stats)

    def _asked(self, given: Any) -> _offloop.Request:
        """Give the request that is made of this, for its host and for duplicates."""
        if not isinstance(given, _offloop.Request):
            return _offloop.Client._describe(self._client, "GET", given, **self._shown)
        return given

    def _is_new(self, asked: _offloop.Request) -> bool:
        url = asked.url.partition("#")[0]
        key = repr((asked.method, url, asked.headers.multi_items())).encode()
        digest = hashlib.blake2b(key, digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True

    def _counted(self) -> int:
        number, self._numbers = self._numbers, self._numbers + 1
        self._stats["pulled"] += 1
        return number

    async def _serve(self, shard: _Shard) -> None:
        """Have the shard's lists fetched, one after the other, until nothing waits."""
        try:
            while shard.waiting:
                count = min(len(shard.waiting), self._list)
                items = [shard.waiting.popleft() for _ in range(count)]
                self._stats["in_flight"] += count
                try:
                    await self._fetch(shard, items)
                finally:
                    self._stats["in_flight"] -= count
        finally:
            shard.task = None

    async def _fetch(self, shard: _Shard, items: list[_Item]) -> None:
        """Have one list fetched, by one worker after the other if they are lost."""
        lost: BaseException | None = None
        for _ in range(_TRIES):
            again, shard.again = shard.again, True
            try:
                given = [item.given for item in items]
                packed = await self._submit(given, shard.limit, again)
            except Exception as error:  # noqa: BLE001 - that of the list is each one's
                if not _is_loss(error):
                    self._give_up(items, error)
                    return
                lost = error
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if self._closed or (task is not None and task.cancelling()):
                    raise
                lost = error  # the executor has given it up
            else:
                for item, one in zip(items, packed, strict=True):
                    self._come_home(item, one)
                return
            unsafe = [item for item in items if item.method not in _IDEMPOTENT]
            self._give_up(unsafe, _death(lost))
            items = [item for item in items if item.method in _IDEMPOTENT]
            if not items:
                return
        self._give_up(items, _death(lost))

    async def _submit(self, given: list[Any], limit: int, again: bool) -> list[Packed]:
        # In a thread: some executors start a process first.
        future = await to_thread(
            self._workers.submit, fetch_list, self._run, self._order, given, limit, again
        )
        return await asyncio.wrap_future(future)

    def _come_home(self, item: _Item, packed: Packed) -> None:
        asked, answer, error, received = packed
        self._stats["bytes"] += received
        given = None if asked is not None else item.given
        fetched = _offloop.Fetched._unpack(item.place, asked, answer, error, given)
        self._finish(item.number, fetched)

    def _give_up(self, items: list[_Item], error: BaseException) -> None:
        for item in items:
            asked = self._asked(item.given).__reduce__()[1]
            fetched = _offloop.Fetched._unpack(item.place, asked, None, error, None)
            self._finish(item.number, fetched)

    def _finish(self, number: int, fetched: _offloop.Fetched) -> None:
        self._stats["finished"] += 1
        self._stats["failed"] += fetched.error is not None
        if self._ordered:
            self._early[number] = fetched
            while (due := self._early.pop(self._next, None)) is not None:
                self._done.append(due)
                self._next += 1
        else:
            self._done.append(fetched)
        if self._done:
            self._has_results.set()


def _number(workers: Executor) -> int:
    """How many workers there are, as far as they say so."""
    for name in ("limit", "_max_workers"):
        number = getattr(workers, name, None)
        if isinstance(number, int) and number > 0:
            return number
    return _WORKERS


def _origin(url: str) -> bytes:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".encode()


def _pickled(client: Client, options: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps((client, options))
    except Exception as error:
        text = f"the client and its options have to travel to the workers: {error}"
        raise NotPicklable(text) from error


def _is_loss(error: BaseException) -> bool:
    """Whether the worker is gone, and not what it was to do at fault."""
    if isinstance(error, (BrokenExecutor, WorkerDied, ConnectionError)):
        return True
    # distributed's, without importing it.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"KilledWorker", "FutureCancelledError", "CommClosedError"})


def _death(lost: BaseException | None) -> WorkerDied:
    died = WorkerDied(f"the workers that were to fetch it were lost: {lost}")
    died.__cause__ = lost
    return died
