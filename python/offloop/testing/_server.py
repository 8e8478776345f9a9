"""The loopback server below `MockRouter` and `ASGITransport`: connections, and where they run.

`LoopbackServer` runs in the loop that starts it; `ServerThread` gives it a daemon thread and a loop
of its own. Both listen on a free port of 127.0.0.1 and hand every request, as an `Exchange`, to a
handler: a coroutine function that runs in the loop of the server, one call per connection at a
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from offloop.testing._exchange import Exchange
from offloop.testing._wire import BadRequest, WatchedReader, read_head

Handler = Callable[[Exchange], Awaitable[None]]

BACKLOG = 1024
"""Connections that may wait to be accepted: tests like to open many at once. Arbitrary."""

ENDING = 10.0
"""Seconds the thread of a server has to end. Arbitrary."""


class LoopbackServer:
    """An HTTP/1.1 server in the running loop. `start` and `stop` belong to that loop."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        # Of every open connection; only the loop's thread touches it.
        self._connections: dict[asyncio.Task[None], WatchedReader] = {}

    async def start(self) -> str:
        """Listen; gives the address as ``"127.0.0.1:port"``."""
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            reader = WatchedReader(loop)
            # A plain function, not a coroutine: the tasks are ours to cancel and to await.
            return asyncio.StreamReaderProtocol(reader, self._accept, loop=loop)

        self._server = await loop.create_server(protocol, "127.0.0.1", 0, backlog=BACKLOG)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self, grace: float = 0.0) -> None:
        """Close all connections; handlers have `grace` seconds to end and are then cancelled.

        Handlers see it as if their clients had left.
        """
        if self._server is None:
            return
        self._server.close()
        for reader in self._connections.values():
            reader.feed_eof()
        if self._connections and grace:
            await asyncio.wait(self._connections, timeout=grace)
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not isinstance(reader, WatchedReader):
            raise TypeError("not the reader that was made for this connection")
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections[task] = reader
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: WatchedReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, EOFError):
            pass  # The client left; handlers that care were told by `Exchange.over`.
        finally:
            # A transport whose last bytes went out after its close has no loop any more, and no
            # connection; asyncio's abort does not look.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()

    async def _converse(self, reader: WatchedReader, writer: asyncio.StreamWriter) -> None:
        keep = True
        while keep:
            try:
                head = await read_head(reader)
                if head is None:
                    return
                exchange = Exchange(head, reader, writer)
                await self._handler(exchange)
                keep = await exchange.finish()
            except BadRequest as error:
                text = f"offloop.testing: {error}\n".encode()
                line = f"HTTP/1.1 {error.status.value} {error.status.phrase}\r\n"
                length = f"content-length: {len(text)}\r\nconnection: close\r\n\r\n"
                writer.write((line + length).encode("ascii") + text)
                keep = False


class ServerThread:
    """A `LoopbackServer` in a daemon thread with a loop of its own.

    It serves clients in any loop and any thread, also when a loop is busy or has ended. `start`
    and `stop` may be called from any thread, one after the other.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="offloop-testing", daemon=True)

    def start(self) -> str:
        """Listen; gives the address as ``"127.0.0.1:port"``."""
        self._thread.start()
        return self._started.result()[0]

    def stop(self) -> None:
        """Close all connections, cancel all handlers and end the thread.

        Raises RuntimeError when a handler blocks the thread for more than `ENDING` seconds.
        """
        _, loop, ended = self._started.result()
        loop.call_soon_threadsafe(ended.set)
        self._thread.join(ENDING)
        if self._thread.is_alive():
            raise RuntimeError(f"a handler has been blocking the mock server for {ENDING} s")

    def _run(self) -> None:
        # Not uvloop, even where that is the policy: its sockets cannot be told to reset.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        server = LoopbackServer(self._handler)
        ended = asyncio.Event()
        try:
            address = await server.start()
        except OSError as error:
            self._started.set_exception(error)
            return
        self._started.set_result((address, asyncio.get_running_loop(), ended))
        await ended.wait()
        await server.stop()
