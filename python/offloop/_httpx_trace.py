"""The extensions ``trace`` and ``network_stream`` of httpx, as far as offloop can tell.

offloop learns what happened when the head of the response is there, so the events come together
then, in the right order: they tell what was done, and not when. There are none about TLS, and none
for a request that failed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offloop._offloop import Response


class NetworkStream:
    """Tells about the connection of a response; it cannot be read or written."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def get_extra_info(self, info: str) -> Any:
        """Return address and port of the server, or of the proxy, for ``"server_addr"``."""
        return self._response._peer() if info == "server_addr" else None


def events(response: Response, request: Any, stream: NetworkStream) -> Iterator[tuple[str, Any]]:
    """Yield name and info of each event, named as httpcore names them."""
    url = request.url
    if not response.attempts[-1].reused:
        port = url.port or (443 if url.scheme == "https" else 80)
        yield "connection.connect_tcp.started", {"host": url.host, "port": port}
        yield "connection.connect_tcp.complete", {"return_value": stream}
    http2 = response.http_version == "HTTP/2"
    protocol = "http2" if http2 else "http11"
    sent = SimpleNamespace(
        method=request.method.encode("ascii"),
        url=SimpleNamespace(target=url.raw_path),
        headers=request.headers.raw,
    )
    yield f"{protocol}.send_request_headers.started", {"request": sent}
    yield f"{protocol}.send_request_headers.complete", {"return_value": None}
    yield f"{protocol}.receive_response_headers.started", {"request": sent}
    headers = response._as_sent()
    got: tuple[Any, ...] = (response.status_code, headers)
    if not http2:
        reason = response.reason_phrase.encode("latin-1")
        got = (response.http_version.encode("ascii"), response.status_code, reason, headers)
    yield f"{protocol}.receive_response_headers.complete", {"return_value": got}
