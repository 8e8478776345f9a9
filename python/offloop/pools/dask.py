"""A dask cluster as the place of a pool's calls; needs the extra ``offloop[dask]``.

The client is connected by a thread when the first call comes, since that takes time. Each call is
followed by a coroutine in the client's own loop, which runs in a thread of its own; outcomes are
reported from there.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any

from offloop.exceptions import Closed, OffloadError, PlaceUnavailable, WorkerDied
from offloop.pools._base import Call, Place, Plan, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

SUBMIT_OPTIONS = ("priority", "retries", "resources", "workers", "allow_other_workers")
"""What is passed on to ``Client.submit``."""


class DaskPlace(Place):
    """A dask cluster: `client` is an address, a ``distributed.Client``, or None.

    None makes a cluster of threads in this process. `priority`, `retries`, `resources`, `workers`
    and `allow_other_workers` go to ``Client.submit``; every call is impure, so that equal calls are
    two calls. A client or cluster that was made here is closed with the pool.
    """

    kind = "dask"

    def __init__(self, plan: Plan) -> None:
        try:
            import distributed
        except ImportError as error:
            raise PlaceUnavailable("dask is not installed: pip install 'offloop[dask]'") from error
        options = dict(plan.options)
        given = options.pop("client", None)
        self._submit_options = {
            name: options.pop(name) for name in SUBMIT_OPTIONS if name in options
        }
        if options:
            raise TypeError(f"a pool over dask has no option {next(iter(options))!r}")
        if not (given is None or isinstance(given, (str, distributed.Client))):
            raise TypeError(f"client has to be an address, a distributed.Client or None: {given!r}")
        if isinstance(given, distributed.Client) and given.asynchronous:
            raise ValueError("the client has to be a synchronous one (asynchronous=False)")
        if plan.initializer is not None:
            raise TypeError("dask workers are initialised by plugins: Client.register_plugin")
        self._given = given
        self._limit = plan.limit
        self._name = plan.pool
        self._lock = threading.Lock()
        self._client: Any = None
        self._cluster: Any = None
        self._connecting = False
        self._waiting: list[Call] = []
        """Calls that came before the client was connected."""
        self._futures: dict[Call, Any] = {}
        self._closed = False

    def start(self, call: Call) -> None:  # noqa: D102 - as Place says, like the next four
        with self._lock:
            if self._closed:
                raise Closed("the pool is closed")
            if self._client is None:
                self._waiting.append(call)
                if self._connecting:
                    return
                self._connecting = True
        if self._client is None:
            name = f"offloop-{self._name}-connect"
            threading.Thread(target=self._connect, name=name, daemon=True).start()
        else:
            self._submit(call)

    def cancel(self, call: Call, reason: Reason) -> None:  # noqa: D102
        del reason
        with self._lock:
            future = self._futures.get(call)
            waiting = call in self._waiting
            if waiting:
                self._waiting.remove(call)
        if waiting and call.begin("dask"):
            call.set_exception(WorkerDied("called off before the cluster was reached"))
        elif future is not None:
            self._cancel([future])

    def resize(self, limit: int) -> None:  # noqa: D102
        self._limit = limit  # the pool's own; the cluster has its own

    def close(self) -> None:  # noqa: D102
        with self._lock:
            self._closed = True
            busy = bool(self._futures or self._waiting)
        if not busy:
            self._leave()

    def kill(self) -> None:  # noqa: D102
        with self._lock:
            self._closed = True
            futures = list(self._futures.values())
        if futures:
            self._cancel(futures)
        self._leave()

    def _connect(self) -> None:
        """Connect, then submit what came meanwhile. Runs in a thread of its own."""
        import distributed

        client = cluster = None
        failure: BaseException | None = None
        try:
            if isinstance(self._given, distributed.Client):
                client = self._given
            elif self._given is None:
                cluster = distributed.LocalCluster(
                    n_workers=1,
                    threads_per_worker=self._limit,
                    processes=False,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=False,
                )
                client = distributed.Client(cluster, set_as_default=False)
            else:
                client = distributed.Client(self._given, set_as_default=False)
        except Exception as error:  # noqa: BLE001 - the waiting calls get it
            failure = error
        with self._lock:
            self._client, self._cluster, self._connecting = client, cluster, False
            waiting, self._waiting = self._waiting, []
            closed = self._closed and not waiting
        if closed:
            self._leave()
        for call in waiting:
            if failure is None:
                self._submit(call)
            elif call.begin("dask"):
                refusal = PlaceUnavailable(f"the dask cluster cannot be reached: {failure}")
                refusal.__cause__ = failure
                call.set_exception(refusal)

    def _submit(self, call: Call) -> None:
        if not call.begin("dask"):
            return
        client = self._client
        # Bound, so that no keyword of the function's is taken for one of dask's.
        bound = functools.partial(call.fn, *call.args, **call.kwargs)
        try:
            future = client.submit(bound, pure=False, **self._submit_options)
            with self._lock:
                self._futures[call] = future
            client.loop.add_callback(self._follow, client, call, future)
        except Exception as error:  # noqa: BLE001 - begun, so its end has to be reported
            told = _told(error)
            self._ended(call, lambda: call.set_exception(told))

    async def _follow(self, client: Any, call: Call, future: Any) -> None:
        """Wait for one call; in the client's loop."""
        try:
            value = await client.gather(future, asynchronous=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
            told = _told(error)
            self._ended(call, lambda: call.set_exception(told))
        else:
            self._ended(call, lambda: call.set_result(value))

    def _ended(self, call: Call, report: Callable[[], object]) -> None:
        with self._lock:
            self._futures.pop(call, None)
            last = self._closed and not self._futures
        report()
        if last:
            self._leave()

    def _cancel(self, futures: list[Any]) -> None:
        """Have dask forget them; does not wait. What runs on a worker there runs on."""
        with contextlib.suppress(Exception):  # its loop has ended: so have they
            self._client.loop.add_callback(self._client.cancel, futures, asynchronous=True)

    def _leave(self) -> None:
        """Close what was made here, in a thread of its own, since that takes time."""
        with self._lock:
            client, cluster = self._client, self._cluster
            if client is None or isinstance(self._given, type(client)):
                return
            self._client = self._cluster = None

        def close() -> None:
            for it in (client, cluster):
                if it is not None:
                    with contextlib.suppress(Exception):
                        it.close()

        threading.Thread(target=close, name=f"offloop-{self._name}-close", daemon=True).start()


def _told(error: BaseException) -> BaseException:
    """Make the failure of a cluster one of offloop's; the function's own stays what it is."""
    import asyncio
    from concurrent.futures import CancelledError

    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    told: OffloadError
    if isinstance(error, KilledWorker):
        told = WorkerDied(f"dask workers died while they ran the call: {error}")
    elif isinstance(
        error, (FutureCancelledError, CancelledError, asyncio.CancelledError, CommClosedError)
    ):
        told = WorkerDied(f"the dask cluster has lost or given up the call: {error}")
    else:
        return error
    told.__cause__ = error
    return told
