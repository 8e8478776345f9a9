"""`offloop.telemetry`: spans and metrics by OpenTelemetry's conventions for HTTP clients."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import offloop
from offloop import telemetry
from servers import Server


class Collected:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def span(self) -> Any:
        (span,) = self.exporter.get_finished_spans()
        return span

    def metrics(self) -> dict[str, list[Any]]:
        data: Any = self.reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics
        return {metric.name: list(metric.data.data_points) for metric in found}


@pytest.fixture
def collected() -> Iterator[Collected]:
    made = Collected()
    telemetry.instrument(tracer_provider=made.tracers, meter_provider=made.meters)
    yield made
    telemetry.uninstrument()


def test_a_request_is_a_span_and_a_duration(run: Any, told: Server, collected: Collected):
    async def main() -> Any:
        async with offloop.Client() as client:
            return (await client.get(f"{told.url}/told?status=200&secret=x")).json()

    sent = run(main())
    span = collected.span()
    assert (span.name, span.kind) == ("GET", trace.SpanKind.CLIENT)
    expected = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": told.port,
    }
    assert dict(span.attributes) == {**expected, "url.full": f"{told.url}/told"}
    assert span.status.is_ok
    (point,) = collected.metrics()["http.client.request.duration"]
    assert dict(point.attributes) == expected
    assert point.count == 1
    assert 0 < point.sum < 30
    # The server can go on with the trace.
    traceparent = {name.lower(): value for name, value in sent["headers"]}["traceparent"]
    trace_id, span_id = traceparent.split("-")[1:3]
    assert int(trace_id, 16) == span.context.trace_id
    assert int(span_id, 16) == span.context.span_id


def test_a_download_is_one_span_until_the_file_is_there(
    run: Any, told: Server, collected: Collected, tmp_path: Path
):
    async def main() -> None:
        async with offloop.Client() as client:
            await client.download(f"{told.url}/told?status=200&secret=x", tmp_path / "sent")

    run(main())
    span = collected.span()
    assert (span.name, span.kind) == ("GET", trace.SpanKind.CLIENT)
    expected = {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": told.port,
    }
    assert dict(span.attributes) == {**expected, "url.full": f"{told.url}/told"}
    assert span.status.is_ok
    (point,) = collected.metrics()["http.client.request.duration"]
    assert (dict(point.attributes), point.count) == (expected, 1)
    # The server can go on with the trace.
    sent = json.loads((tmp_path / "sent").read_text())["headers"]
    traceparent = {name.lower(): value for name, value in sent}["traceparent"]
    assert int(traceparent.split("-")[2], 16) == span.context.span_id


def test_a_download_in_parts_is_one_span(ranges: Server, collected: Collected, tmp_path: Path):
    async def main() -> list[offloop.Downloaded]:
        async with offloop.Client() as client:
            urls = [f"{ranges.url}/honest/100000/{name}" for name in "ab"]
            many = client.downloads(urls, tmp_path, connections=4, min_part=1000)
            return [got async for got in many]

    assert [got.error for got in asyncio.run(main())] == [None, None]
    spans = collected.exporter.get_finished_spans()
    assert sorted(span.attributes["url.full"][-1] for span in spans) == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "kind", "status"),
    [
        ("{}/told?status=404", "404", 404),
        ("http://127.0.0.1:1/x", "offloop.ConnectError", None),
    ],
)
def test_a_download_that_fails_is_an_error_of_its_span(
    told: Server, collected: Collected, tmp_path: Path, url: str, kind: str, status: int | None
):
    async def main() -> None:
        async with offloop.Client() as client:
            with pytest.raises(offloop.FetchError):
                await client.download(url.format(told.url), tmp_path / "x")

    asyncio.run(main())
    span = collected.span()
    assert span.attributes["error.type"] == kind
    assert span.attributes.get("http.response.status_code") == status
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.events


def test_the_span_is_a_child_of_the_callers(told: Server, collected: Collected):
    tracer = collected.tracers.get_tracer("test")

    async def main() -> None:
        with tracer.start_as_current_span("outer"):
            async with offloop.Client() as client:
                await client.get(f"{told.url}/told")

    asyncio.run(main())
    inner, outer = collected.exporter.get_finished_spans()
    assert inner.parent.span_id == outer.context.span_id


@pytest.mark.parametrize(
    ("url", "kind", "described"),
    [
        ("{}/told?status=503", "503", False),
        ("http://127.0.0.1:1/", "offloop.ConnectError", True),
    ],
)
def test_a_failure_is_an_error_of_the_span(
    told: Server, collected: Collected, url: str, kind: str, described: bool
):
    async def main() -> None:
        async with offloop.Client() as client:
            try:
                await client.get(url.format(told.url))
            except offloop.FetchError:
                assert described

    asyncio.run(main())
    span = collected.span()
    assert span.attributes["error.type"] == kind
    assert span.status.status_code is trace.StatusCode.ERROR
    assert bool(span.events) is described


@pytest.mark.parametrize("downloads", [False, True])
def test_a_cancelled_request_ends_its_span(collected: Collected, tmp_path: Path, downloads: bool):
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            async with offloop.Client() as client:
                job = client.download(url, tmp_path / "x") if downloads else client.get(url)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(job, 0.05)

    asyncio.run(main())
    assert collected.span().attributes["error.type"] == "asyncio.CancelledError"


def test_tries_again_are_counted(told: Server, collected: Collected):
    url = f"{told.url}/told?status=503&header={quote('Retry-After: 0')}"

    async def main() -> None:
        async with offloop.Client(retries=offloop.Retry(attempts=2, budget=1)) as client:
            await client.get(url)

    asyncio.run(main())
    assert collected.span().attributes["http.request.resend_count"] == 2


def test_the_context_travels_into_worker_threads(collected: Collected):
    tracer = collected.tracers.get_tracer("test")

    def work() -> int:
        return trace.get_current_span().get_span_context().span_id

    async def main() -> bool:
        with tracer.start_as_current_span("outer") as span:
            return await offloop.run(work) == span.get_span_context().span_id

    assert asyncio.run(main())


def test_connections_are_told_of(told: Server, collected: Collected):
    async def main() -> dict[str, list[Any]]:
        async with offloop.Client() as client:
            await client.get(f"{told.url}/told")
            return collected.metrics()

    found = asyncio.run(main())["http.client.open_connections"]
    states = {point.attributes["http.connection.state"]: point.value for point in found}
    assert states["idle"] >= 1


def test_loops_under_watch_are_told_of(collected: Collected):
    async def main() -> dict[str, list[Any]]:
        async with offloop.watch():
            await asyncio.sleep(0.1)
            return collected.metrics()

    assert "offloop.loop.time" not in collected.metrics()
    found = asyncio.run(main())
    states = {
        point.attributes["offloop.loop.state"]: point.value for point in found["offloop.loop.time"]
    }
    assert states["idle"] > 0.05
    assert 0 <= states["busy"]
    (stalls,) = found["offloop.loop.stalls"]
    assert stalls.value == 0


def test_clients_tell_nothing_unless_asked(told: Server):
    made = Collected()

    async def main() -> str:
        async with offloop.Client() as client:
            return (await client.get(f"{told.url}/told")).text

    assert "traceparent" not in json.dumps(asyncio.run(main())).lower()
    assert made.exporter.get_finished_spans() == ()
