"""OpenTelemetry, by its API alone: spans of requests, metrics of them, of pools and of loops.

::

    pip install "offloop[otel]"
    offloop.telemetry.instrument()      # before clients are made

Names follow the stable conventions for HTTP clients
(https://opentelemetry.io/docs/specs/semconv/http/). A span begins when the request is asked for and
ends with its head if it is streamed, with its body else; retries and redirects are inside it. A
download is one span, too, however many requests it makes, and ends when the file is there. The
context travels in ``traceparent``, and into worker threads, which copy context variables anyway.
Everything here runs in the loop's thread, or in that of the exporter that reads the metrics.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import metrics, propagate, trace

from offloop import _hooks, _lifecycle, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from offloop._offloop import Job, Request, Response

__all__ = ["instrument", "uninstrument"]

_KNOWN = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The buckets of the conventions."""
_FIRST_FAILURE = 400
_VERSIONS = {"HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2": "2"}


def instrument(
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> None:
    """Have all clients that are made from now on tell OpenTelemetry of their requests.

    Parameters (all keyword-only)
        tracer_provider, meter_provider: default the global ones.

    The shared client of `offloop.fetch` is included if it has not been used yet. URLs are told
    without user info and without query. Calling it again replaces the providers.

    Thread safety: call it once, when the program starts.

    >>> instrument()
    >>> uninstrument()
    """
    _hooks.observer = _Observer(tracer_provider, meter_provider)


def uninstrument() -> None:
    """Have clients that are made from now on tell nothing; those there are go on as they are."""
    _hooks.observer = None


class _Observer:
    """Sees each request when it is asked for, and its Job when it is over."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None,
        meter_provider: metrics.MeterProvider | None,
    ) -> None:
        self._tracer = trace.get_tracer("offloop", tracer_provider=tracer_provider)
        meter = metrics.get_meter("offloop", meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        for name, unit, read in (
            ("http.client.open_connections", "{connection}", _connections),
            ("offloop.fetch.queued", "{request}", _queued),
            ("offloop.pool.jobs", "{job}", _jobs),
        ):
            meter.create_observable_up_down_counter(name, callbacks=[_reader(read)], unit=unit)
        for name, unit, read in (
            ("offloop.loop.time", "s", _loop_time),
            ("offloop.loop.stalls", "{stall}", _stalls),
        ):
            meter.create_observable_counter(name, callbacks=[_reader(read)], unit=unit)

    def begin(
        self, request: Request, answer: Callable[[Job[Any]], Response | None]
    ) -> tuple[dict[str, str], Callable[[Job[Any]], None]]:
        """Return headers to add to a request that begins, and what to call when it is over."""
        parts = urlsplit(request.url)
        known = request.method in _KNOWN
        common: dict[str, Any] = {
            "http.request.method": request.method if known else "_OTHER",
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }
        attributes = dict(common)
        attributes["url.full"] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if not known:
            attributes["http.request.method_original"] = request.method
        span = self._tracer.start_span(
            request.method if known else "HTTP",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
        )
        headers: dict[str, str] = {}
        propagate.inject(headers, context=trace.set_span_in_context(span))
        began = time.perf_counter()

        def over(job: Job[Any]) -> None:
            seconds = time.perf_counter() - began
            response = None if job.cancelled() else answer(job)
            self._end(job, response, span, common, seconds)

        return headers, over

    def _end(
        self,
        job: Job[Any],
        response: Response | None,
        span: trace.Span,
        common: dict[str, Any],
        seconds: float,
    ) -> None:
        error = None if job.cancelled() else job.exception()
        if job.cancelled():
            common["error.type"] = "asyncio.CancelledError"
        elif error is not None:
            kind = type(error)
            common["error.type"] = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
            span.record_exception(error)
        if response is not None:
            common["http.response.status_code"] = response.status_code
            common["network.protocol.version"] = _VERSIONS[response.http_version]
            if response.status_code >= _FIRST_FAILURE:
                common["error.type"] = str(response.status_code)
            if len(response.attempts) > 1:
                span.set_attribute("http.request.resend_count", len(response.attempts) - 1)
        span.set_attributes(common)
        if "error.type" in common:
            text = None if error is None else str(error)
            span.set_status(trace.Status(trace.StatusCode.ERROR, text))
        span.end()
        self._duration.record(seconds, common, context=trace.set_span_in_context(span))


def _reader(
    read: Callable[[observe.Stats], Iterator[metrics.Observation]],
) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
    def observed(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return list(read(observe.stats()))

    return observed


def _connections(stats: observe.Stats) -> Iterator[metrics.Observation]:
    idle = stats.fetch["idle"]
    yield metrics.Observation(idle, {"http.connection.state": "idle"})
    active = max(0, stats.fetch["connections"] - idle)
    yield metrics.Observation(active, {"http.connection.state": "active"})


def _queued(stats: observe.Stats) -> Iterator[metrics.Observation]:
    yield metrics.Observation(stats.fetch["queued"])


def _jobs(stats: observe.Stats) -> Iterator[metrics.Observation]:
    for pool, numbers in stats.pools.items():
        for state in ("queued", "running"):
            if state in numbers:
                attributes = {"offloop.pool.name": pool, "offloop.job.state": state}
                yield metrics.Observation(int(numbers[state]), attributes)


def _loop_time(stats: observe.Stats) -> Iterator[metrics.Observation]:
    if stats.loops:
        busy = stats.loops["busy_seconds"]
        yield metrics.Observation(busy, {"offloop.loop.state": "busy"})
        idle = max(0.0, stats.loops["watched_seconds"] - busy)
        yield metrics.Observation(idle, {"offloop.loop.state": "idle"})


def _stalls(stats: observe.Stats) -> Iterator[metrics.Observation]:
    if stats.loops:
        yield metrics.Observation(int(stats.loops["stalls"]))


_lifecycle.make_ready()
