"""What a place for calls has to offer, and what it is given.

A `Pool` owns the name, the limit, the queue and the statistics of its calls; a `Place` begins
one call when its turn has come, and reports its end. Threads are no `Place`: they take calls
from the queue by themselves (`offloop.pools.thread`).
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import weakref
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from offloop.exceptions import InternalError

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from offloop._offloop import Promise

OnCancel = Literal["wait", "abandon", "kill"]
Reason = Literal["cancel", "timeout", "close"]
How = Literal["done", "failed", "cancelled"] | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a pool is made with, as far as its place has to know it."""

    pool: str
    """The pool's name; names of workers begin with it."""
    limit: int
    """How many calls may run at once. `Place.resize` tells of changes."""
    initializer: Callable[..., object] | None = None
    """Called as ``initializer(*initargs)`` in each worker before its first call."""
    initargs: tuple[Any, ...] = ()
    idle: float = 30.0
    """Seconds after which a worker without work may end."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keywords of `Pool` that only this kind of place knows; check them in ``__init__``."""


class Call(abc.ABC):
    """One call on its way to a place: what is to be run, and where its outcome goes.

    A place calls `begin` once, and if that is true, then exactly one of `set_result` and
    `set_exception`, from any real thread. Until one of these has been called, or `begin` has
    returned False, the call holds its place in the pool's limit: so also a killed or abandoned
    call has to be reported when it is really over. Keep the call object as long as it runs: one
    that is lost fails with InternalError.
    """

    __slots__ = ("__weakref__", "args", "fn", "kwargs", "on_cancel")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        on_cancel: OnCancel = "wait",
    ) -> None:
        self.fn: Callable[..., Any] = fn
        self.args: Sequence[Any] = args
        self.kwargs: Mapping[str, Any] = kwargs
        self.on_cancel: OnCancel = on_cancel

    @abc.abstractmethod
    def begin(self, where: str) -> bool:
        """Note that the call runs now at `where`, like ``"process:8123"``.

        False when it was called off before: it must not be run, and nothing is to be reported.
        """

    @abc.abstractmethod
    def set_result(self, value: object) -> bool:
        """Report what the function returned; False when nobody wants it any more."""

    @abc.abstractmethod
    def set_exception(
        self, error: BaseException, traceback: types.TracebackType | None = None
    ) -> bool:
        """Report what the function raised, with the traceback that is to be shown.

        Also for what went wrong on the way: NotPicklable, WorkerDied. By default the error shows
        its own traceback. A StopIteration is wrapped by the pool.
        """

    @abc.abstractmethod
    def cancelled(self) -> bool:
        """Tell whether somebody has asked for the end of it; cheap, for polling."""


class Place(abc.ABC):
    """Where the calls of one pool run. One object for each pool, made with its `Plan`.

    All methods may be called from any thread, several at once, and none may block: they are
    called in the loop's thread, or in the thread that reported the end of an earlier call.
    ``__init__`` raises PlaceUnavailable where this Python has no such place, and TypeError for
    an option it does not know. It starts no worker: a pool that is never used costs nothing.
    """

    kind: ClassVar[str]
    """What `on=` calls it, and what `Job.where` begins with: ``"process"``."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @abc.abstractmethod
    def start(self, call: Call) -> None:
        """Begin a call whose turn has come; at most `limit` are under way.

        Runs in the context (contextvars) in which the call was made; an exception raised here is
        the call's outcome, for instance NotPicklable for an argument. The function itself must
        not run here.
        """

    @abc.abstractmethod
    def cancel(self, call: Call, reason: Reason) -> None:
        """Take notice that nobody waits for a call that was started and is not over.

        `reason` is ``"timeout"`` when its time was up, ``"cancel"`` when its awaiter was
        cancelled, ``"close"`` when the pool gives it up. Kill it if `call.on_cancel` is
        ``"kill"`` or the place can stop a call for a timeout without harming others; else pass
        the wish on, or let it run. Its end has to be reported all the same.
        """

    @abc.abstractmethod
    def resize(self, limit: int) -> None:
        """Prepare for another limit. Calls under way go on."""

    @abc.abstractmethod
    def close(self) -> None:
        """Begin to end all workers; calls under way go on and report. Idempotent.

        The pool waits for them up to its grace, then calls `cancel` with ``"close"`` for each,
        then `kill`.
        """

    @abc.abstractmethod
    def kill(self) -> None:
        """End what is left, at once and without waiting: the interpreter is exiting."""

    def refusal(self, fn: Callable[..., Any]) -> str | None:
        """Why this place cannot run `fn`, in words for `offloop.explain`; None when it can."""
        del fn
        return None


class PromisedCall(Call):
    """A call whose outcome a Job awaits."""

    __slots__ = ("_ended", "_promise")

    def __init__(
        self,
        promise: Promise,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ended: Callable[[Call, How], object],
    ) -> None:
        super().__init__(fn, args, kwargs, promise.on_cancel)
        promise.owner = weakref.ref(self)
        self._promise = promise
        self._ended = ended

    def begin(self, where: str) -> bool:
        if self._promise.begin(where):
            return True
        self._ended(self, None)
        return False

    def set_result(self, value: object) -> bool:
        asked = self._promise.cancelled()
        wanted = self._promise.set_result(value)
        self._ended(self, _how(wanted, asked, "done"))
        return wanted

    def set_exception(
        self, error: BaseException, traceback: types.TracebackType | None = None
    ) -> bool:
        asked = self._promise.cancelled()
        wanted = self._promise.set_exception(error, traceback)
        self._ended(self, _how(wanted, asked, "failed"))
        return wanted

    def cancelled(self) -> bool:
        return self._promise.cancelled()


def _how(wanted: bool, asked: bool, how: How) -> How:
    """Tell how a call ended for its awaiter; None when that has been counted before."""
    if not wanted:
        return None
    return "cancelled" if asked else how


class SubmittedCall(Call):
    """A call whose outcome goes to a ``concurrent.futures.Future``."""

    __slots__ = ("_begun", "_ended", "_future")

    def __init__(
        self,
        future: Future[Any],
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ended: Callable[[Call, How], object],
    ) -> None:
        super().__init__(fn, args, kwargs)
        self._future = future
        self._begun = False
        self._ended = ended

    def begin(self, where: str) -> bool:
        del where
        if self._future.set_running_or_notify_cancel():
            self._begun = True
            return True
        self._ended(self, None)
        return False

    def set_result(self, value: object) -> bool:
        self._ended(self, "done")
        self._future.set_result(value)
        return True

    def set_exception(
        self, error: BaseException, traceback: types.TracebackType | None = None
    ) -> bool:
        self._ended(self, "failed")
        if not self._begun and not self._future.set_running_or_notify_cancel():
            return False
        if traceback is not None:
            BaseException.with_traceback(error, traceback)
        self._future.set_exception(error)
        return True

    def cancelled(self) -> bool:
        return self._future.cancelled()

    def __del__(self) -> None:
        # The place has lost the call: without this, whoever waits for it would wait for ever.
        if self._future.done():
            return
        lost = InternalError(
            "the place of the call has lost it: a bug in offloop, please report it"
        )
        with contextlib.suppress(InvalidStateError):  # settled meanwhile
            self.set_exception(lost)


def check_callable(fn: object) -> None:
    """Raise TypeError unless `fn` can be called: where it is given, not where it would be run."""
    if not callable(fn):
        raise TypeError(f"a function to call is needed, not {type(fn).__name__}")


_traceback: Callable[[BaseException], types.TracebackType | None]
_traceback = BaseException.__dict__["__traceback__"].__get__


def below(error: BaseException) -> types.TracebackType | None:
    """Give the traceback of a function's exception, below the frame that called the function.

    None for a function of C, which has no frame. What the exception's class makes of its
    attributes is not asked: that is code of users, and nobody is there for what it raises.
    """
    traceback = _traceback(error)
    return None if traceback is None else traceback.tb_next


PLACES: dict[str, str] = {
    "inline": "offloop.pools.inline:InlinePlace",
    "process": "offloop.pools.process:ProcessPlace",
    "interpreter": "offloop.pools.interpreter:InterpreterPlace",
    "cpu": "offloop.pools.interpreter:CpuPlace",
    "cluster": "offloop.pools.cluster:ClusterPlace",
    "dask": "offloop.pools.dask:DaskPlace",
}
"""Each kind of place, and the class that is imported when the first pool of its kind is made."""


@functools.cache
def place_class(kind: str) -> type[Place]:
    """Import the class of a kind of place; PlaceUnavailable where there is none."""
    import importlib

    from offloop.exceptions import PlaceUnavailable

    module, _, name = PLACES[kind].partition(":")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        raise PlaceUnavailable(f"there is no place {kind!r} here: {error}") from error
