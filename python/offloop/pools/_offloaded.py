"""Functions that know where they run: what `offloaded` makes, and `explain`."""

from __future__ import annotations

import functools
import threading
import types
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from offloop.exceptions import PlaceUnavailable
from offloop.pools import _base, _hogs, _rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from offloop._offloop import Job
    from offloop.pool import Kind, On, Pool
    from offloop.pools._calls import Calls, OnCancel, Seconds

P = ParamSpec("P")
T = TypeVar("T")


class Offloaded(Generic[P, T]):
    """A function that runs where it was declared to. Calling it gives a Job."""

    def __init__(
        self, fn: Callable[P, T], on: On | Executor | Pool, kind: Kind | None, terms: dict[str, Any]
    ) -> None:
        self._is_static = isinstance(fn, staticmethod)
        if isinstance(fn, staticmethod):
            fn = fn.__func__
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._on = on
        self._kind: Kind | None = kind
        self._terms = terms
        self._calls: Calls | None = None
        self._lock = threading.Lock()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        """Awaiting it gives what the function returns, run where it was declared to."""
        return self._pool().run(self._fn, *args, **kwargs)

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in the same place, and block this thread until it is over."""
        return self._pool().submit(self._fn, *args, **kwargs).result()

    @property
    def fn(self) -> Callable[P, T]:
        """The function itself, to be called here."""
        return self._fn

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind a method, as functions do."""
        if instance is None or self._is_static:
            return self
        return _Bound(self, instance)

    def __reduce__(self) -> Any:
        return self.__qualname__  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<offloaded {_qualname(self._fn)}>"

    def _choice(self) -> tuple[str, str]:
        """Tell the place and the reason."""
        from offloop.pool import Pool

        if isinstance(self._on, Pool):
            return self._on.on, f"it was declared to run in pool {self._on.name!r}"
        if not isinstance(self._on, str):
            return "cluster", f"on={self._on!r}"
        return choose(self._fn, self._on, self._kind)

    def _pool(self) -> Calls:
        if self._calls is not None:
            return self._calls
        with self._lock:
            if self._calls is None:
                from offloop import offload
                from offloop.pool import Pool

                base: Calls
                if isinstance(self._on, Pool):
                    base = self._on
                elif not isinstance(self._on, str):
                    base = Pool(getattr(self._fn, "__name__", "executor"), on=self._on)
                else:
                    base = offload.default_pool(self._choice()[0])
                self._calls = base.view(**self._terms) if self._terms else base
        return self._calls


class _Bound(Offloaded[P, T]):
    """A declared method of one object."""

    def __init__(self, declared: Offloaded[Any, T], instance: object) -> None:
        self._declared = declared
        self._instance = instance
        self._fn = declared._fn
        functools.update_wrapper(self, declared._fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        return self._declared(self._instance, *args, **kwargs)

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._declared.sync(self._instance, *args, **kwargs)

    @property
    def fn(self) -> Callable[P, T]:
        return types.MethodType(self._declared._fn, self._instance)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self

    def __reduce__(self) -> Any:
        return getattr, (self._instance, self._fn.__name__)

    def _choice(self) -> tuple[str, str]:
        return self._declared._choice()

    def _pool(self) -> Calls:
        return self._declared._pool()


def offloaded(  # noqa: PLR0913 - each is optional
    *,
    on: On | Executor | Pool = "auto",
    kind: Kind | None = None,
    limit: int | None = None,
    priority: int | None = None,
    timeout: Seconds | None = None,
    queue_timeout: Seconds | None = None,
    on_cancel: OnCancel | None = None,
) -> Callable[[Callable[P, T]], Offloaded[P, T]]:
    """Declare where a function runs; calling it then gives a Job, ``.sync(…)`` blocks.

    `on` is a place as for `Pool`, an executor, or a pool. With ``"auto"`` it goes by `kind`:
    ``"cpu"`` computes in Python, ``"nogil"`` computes without the GIL, ``"io"`` blocks. The other
    options are those of `Pool.view`; `limit` is how many calls of this function may be in its
    pool at once.

    The Job raises what `Pool.run` raises. `offloop.run`, `map` and pools take the declared
    function, too: `offloop.run` runs it where it was declared to, a pool in its own workers.

    >>> @offloaded(kind="io", limit=2, timeout=30)
    ... def double(number: int) -> int:
    ...     return 2 * number
    >>> await double(21)
    42
    """
    _rules.resolve("thread" if isinstance(on, Executor) else on, kind)
    given = {
        "limit": limit,
        "priority": priority,
        "timeout": timeout,
        "queue_timeout": queue_timeout,
        "on_cancel": on_cancel,
    }
    terms = {name: value for name, value in given.items() if value is not None}
    _check(terms)

    def declare(fn: Callable[P, T]) -> Offloaded[P, T]:
        _base.check_callable(fn)
        if kind is not None or on != "auto":
            _hogs.declare(fn)
        return Offloaded(fn, on, kind, terms)

    return declare


def _check(terms: dict[str, Any]) -> None:
    """Refuse options that no view takes where they are given, and not at the first call."""
    from offloop import offload

    offload.pool_of_threads().view(**terms)


def choose(fn: Callable[..., Any], on: str, kind: str | None) -> tuple[str, str]:
    """Choose a place for a function; what a rule chose and cannot run it gives way to another."""
    choice = _rules.resolve(on, kind)
    if on != "auto" or choice.place == "thread":
        return choice.place, choice.reason
    refusals: list[str] = []
    for place in (choice.place, "process"):
        refusal = _refusal(place, fn)
        if refusal is None:
            reason = choice.reason if place == choice.place else "; ".join(refusals)
            return place, reason
        refusals.append(f"no {place}: {refusal}")
    return "thread", "; ".join(refusals)


def _refusal(place: str, fn: Callable[..., Any]) -> str | None:
    """Why a place cannot run a function, without starting anything."""
    from offloop import offload

    try:
        _base.place_class(place)
        pool = offload.default_pool(place)
    except PlaceUnavailable as error:
        return str(error)
    return pool._dispatcher.place.refusal(fn) if pool._dispatcher is not None else None


def explain(fn: Callable[..., Any]) -> str:
    """Tell where `offloop.run` would run a function, and why, in one line.

    >>> explain(sum)
    'sum: thread (nothing was declared: a thread is right for what blocks)'
    """
    _base.check_callable(fn)
    if isinstance(fn, Offloaded):
        place, reason = fn._choice()
        fn = fn._fn
    else:
        place, reason = choose(fn, "auto", None)
    name = _qualname(fn)
    # The place that a rule chooses is one for both; so far nothing has refused.
    return f"{name}: {'interpreter' if place == 'cpu' else place} ({reason})"


def _qualname(fn: Callable[..., Any]) -> str:
    """Name a function, or show the object that is called."""
    try:
        return str(getattr(fn, "__qualname__", None) or repr(fn))
    except Exception:  # noqa: BLE001 - code of users
        return f"an object of type {type(fn).__qualname__}"
