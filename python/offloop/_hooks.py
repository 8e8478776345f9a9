"""Functions of the user's around a request: hooks, and auth that is computed.

They are called from Python alone, with no Rust frame below them, because CPython up to 3.13 ends
daemon threads by unwinding their stacks. Async hooks are awaited in a task of the loop that awaits
the Job; plain ones are called without one. A client without such functions knows nothing of this
module: `offloop.Client` makes a client of a class that is derived here only when it has to.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from offloop._offloop import Client, Response, promise

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from offloop._offloop import Job, Meter, Promise, Request
    from offloop.options import Saved

_T = TypeVar("_T")


class Observer(Protocol):
    """Is told of every request of the clients that are made while it is the `observer`."""

    def begin(
        self, request: Request, answer: Callable[[Job[Any]], Response | None]
    ) -> tuple[Mapping[str, str], Callable[[Job[Any]], None]]:
        """Return headers to add to a request that begins, and what to call when it is over.

        `answer` gives the response to a Job that was not cancelled, if there is one.
        """
        ...


observer: Observer | None = None
"""Set by `offloop.telemetry`."""


def is_function(auth: object) -> bool:
    """Whether `auth` is a function of the request, and not one of the auth classes."""
    return callable(auth)


_BODY = {"content", "data", "files", "json"}

_classes: dict[type[Any], type[Any]] = {}


def hooked_class(client: type[Any]) -> type[Any]:
    """Make the class of a client of `client`'s kind that calls functions of the user's."""
    if client not in _classes:
        name, module = client.__name__, client.__module__
        _classes[client] = type(name, (Hooked, client), {"__module__": module})
    return _classes[client]


def unhooked_class(client: type[Any]) -> type[Any]:
    """Give back the class that `hooked_class` was asked with."""
    return client.__mro__[2] if client.__mro__[1] is Hooked else client


class Calls:
    """The functions that are called around requests, and how."""

    def __init__(
        self,
        auth: Callable[[Request], Any] | None = None,
        hooks: Mapping[str, Any] | None = None,
        told: Observer | None = None,
    ) -> None:
        hooks = hooks or {}
        unknown = set(hooks) - {"request", "response"}
        if unknown:
            raise ValueError(f"there are hooks for request and response, not for {unknown}")
        self._auth = auth
        self._observer = told
        self._before = [_function(hook) for hook in hooks.get("request", ())]
        self._after = [_function(hook) for hook in hooks.get("response", ())]
        self._waits = any(map(_is_async, [*self._before, *self._after]))

    def job(
        self,
        describe: Callable[..., Request],
        make: Callable[..., Job[Response]],
        method: str,
        url: str,
        options: dict[str, Any],
    ) -> Job[Response]:
        """Make the Job of a request, by `make`, with the calls around it."""
        options = self.authorized(describe, method, url, options)
        # The body is looked at once only: reading some kinds of it uses them up.
        shown = {name: value for name, value in options.items() if name not in _BODY}

        def send() -> Job[Response]:
            over = self._begun(lambda: describe(method, url, **shown), _result, options)
            job = make(method, url, **options)
            if over is not None:
                job._before_others(over)
            return job

        request = describe(method, url, **shown) if self._waits or self._before else None
        return self._around(request, send, _result)

    def download(
        self,
        describe: Callable[..., Request],
        make: Callable[..., tuple[Job[Saved], Meter]],
        url: str,
        options: dict[str, Any],
    ) -> Job[Saved]:
        """Make the Job of a download, by `make`, with the hooks around it.

        Those of the response see the one that the file began with, or the refusal.
        """
        options = self.authorized(describe, "GET", url, options)
        meters: list[Meter] = []

        def send() -> Job[Saved]:
            over = self._begun(lambda: describe("GET", url, **options), answer, options)
            job, meter = make(url, **options)
            meters.append(meter)
            if over is not None:
                job._before_others(over)
            return job

        def answer(job: Job[Saved]) -> Response | None:
            error = job.exception()
            if error is not None:
                return getattr(error, "response", None)
            saved = job.result()
            return meters[0].response(saved.path, saved.bytes)

        request = describe("GET", url, **options) if self._waits or self._before else None
        return self._around(request, send, answer)

    def _begun(
        self,
        describe: Callable[[], Request],
        answer: Callable[[Job[Any]], Response | None],
        options: dict[str, Any],
    ) -> Callable[[Job[Any]], None] | None:
        """Tell the observer of a request, whose options get what it adds; give what ends it."""
        if self._observer is None:
            return None
        added, over = self._observer.begin(describe(), answer)
        options["headers"] = merged(options.get("headers") or (), added)
        return over

    def _around(
        self,
        request: Request | None,
        send: Callable[[], Job[_T]],
        answer: Callable[[Job[_T]], Response | None],
    ) -> Job[_T]:
        """Make the Job that `send` makes, with the hooks around it."""
        if request is not None:
            if self._waits:
                return _later(request, functools.partial(self._with_waits, request, send, answer))
            for hook in self._before:
                _refuse_awaitable(hook, hook(request))
        job = send()
        if self._after:
            job._before_others(functools.partial(_call_after, self._after, answer))
        return job

    def authorized(
        self, describe: Callable[..., Request], method: str, url: str, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Give the options with what the function that is the auth has to add."""
        auth: Any = options.get("auth", self._auth)
        if auth is None or not is_function(auth):
            return options
        options = {**options, "auth": None}
        shown = {name: value for name, value in options.items() if name not in _BODY}
        added = auth(describe(method, url, **shown))
        if added is not None:
            options["headers"] = merged(options.get("headers") or (), added)
        return options

    async def _with_waits(
        self,
        request: Request,
        send: Callable[[], Job[_T]],
        answer: Callable[[Job[_T]], Response | None],
    ) -> _T:
        """Make the request between hooks that are awaited one after the other."""
        for hook in self._before:
            await _settled(hook(request))
        job = send()
        try:
            return await job
        finally:
            response = answer(job) if job.done() and not job.cancelled() else None
            if response is not None:
                await self._show(response)

    async def _show(self, response: Response) -> None:
        try:
            for hook in self._after:
                await _settled(hook(response))
        except BaseException:
            response.close()
            raise


class Hooked:
    """Wraps the three methods that make requests; `batch` and `download` ask for `_calls`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        auth = options.get("auth")
        self._calls = Calls(auth if is_function(auth) else None, options.get("hooks"), observer)

    def get(self, url: str, **options: Any) -> Job[Response]:
        return self._hooked("request", "GET", url, options)

    def request(self, method: str, url: str, **options: Any) -> Job[Response]:
        return self._hooked("request", method, url, options)

    def stream(self, method: str, url: str, **options: Any) -> Job[Response]:
        return self._hooked("stream", method, url, options)

    def _hooked(self, kind: str, method: str, url: str, options: dict[str, Any]) -> Job[Response]:
        base: Any = super()
        return self._calls.job(base._describe, getattr(base, kind), method, url, options)


def calls_of(client: object, options: Mapping[str, Any]) -> Calls | None:
    """Give what is to be called around a client's requests with these options; None if nothing."""
    if isinstance(client, Hooked):
        return client._calls
    return Calls() if is_function(options.get("auth")) else None


def with_auth(
    client: Client, kind: str, method: str, url: str, options: dict[str, Any]
) -> Job[Response]:
    """Make the Job of a request whose `auth` is a function, which is called when it starts."""
    auth, options = options["auth"], {**options, "auth": None}
    shown = {name: value for name, value in options.items() if name not in _BODY}
    request = client._describe(method, url, **shown)

    async def work() -> Response:
        added = auth(request)
        if added is not None:
            options["headers"] = merged(options.get("headers") or (), added)
        # Not by the client's own class, which may have methods of the user's.
        job: Job[Response] = getattr(Client, kind)(client, method, url, **options)
        return await job

    return _later(request, work)


def merged(lines: Any, added: Any) -> list[tuple[Any, Any]]:
    """Put headers in the place of those of the same name, and leave the others as they are."""

    def pairs(headers: Any) -> list[tuple[Any, Any]]:
        if hasattr(headers, "multi_items"):
            return list(headers.multi_items())
        return list(headers.items()) if hasattr(headers, "items") else list(headers)

    def known(name: str | bytes) -> str:
        return (name.decode("latin-1") if isinstance(name, bytes) else name).lower()

    newer = pairs(added)
    replaced = {known(name) for name, _ in newer}
    return [pair for pair in pairs(lines) if known(pair[0]) not in replaced] + newer


def _result(job: Job[Response]) -> Response | None:
    return job.result() if job.exception() is None else None


def _call_after(
    hooks: list[Callable[[Response], object]],
    answer: Callable[[Job[_T]], Response | None],
    job: Job[_T],
) -> None:
    """Show the response to the hooks; what they raise becomes the request's error."""
    response = None if job.cancelled() else answer(job)
    if response is None:
        return
    try:
        for hook in hooks:
            _refuse_awaitable(hook, hook(response))
    except Exception as error:  # noqa: BLE001 - whatever it is, the awaiter gets it
        job._spoil(error)


def _function(hook: Callable[..., object]) -> Callable[..., object]:
    if not callable(hook):
        raise TypeError(f"a hook is a function, not {type(hook).__name__}")
    return hook


def _is_async(hook: Callable[..., object]) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    return inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(
        getattr(hook, "__call__", None)  # noqa: B004 - of an object whose call is async
    )


def _refuse_awaitable(hook: Callable[..., object], got: object) -> None:
    """Refuse what a plain function gives to be awaited: nobody would have waited for it."""
    if inspect.isawaitable(got):
        if inspect.iscoroutine(got):
            got.close()
        name = getattr(hook, "__qualname__", type(hook).__name__)
        raise TypeError(f"the hook {name} returned an awaitable: make it an async function")


async def _settled(got: object) -> None:
    if inspect.isawaitable(got):
        await got


def _later(request: Request, work: Callable[[], Coroutine[Any, Any, _T]]) -> Job[_T]:
    """Make a Job of a coroutine, which becomes a task of the loop that awaits the Job."""
    tasks = list[asyncio.Task[_T]]()

    def start(made: Promise) -> None:
        if made.begin("hooks"):
            task = asyncio.get_running_loop().create_task(work(), name="offloop-hooks")
            tasks.append(task)
            task.add_done_callback(functools.partial(_report, made))

    def stop(_: Promise, __: object) -> None:
        for task in tasks:
            task.cancel()

    # "wait": the await ends when the task has, with the hooks' own cleaning up done.
    return promise(request, start, stop, on_cancel="wait")


def _report(made: Promise, task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        made.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        made.set_exception(error, error.__traceback__)
    elif not made.set_result(task.result()) and isinstance(task.result(), Response):
        task.result().close()
