"""What all tests share: the kinds of event loop, and the servers."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from servers import Server, serve

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background: programs would inherit it, and Ctrl-C could not be tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

try:
    import uvloop
except ImportError:  # Windows, or a Python newer than uvloop
    uvloop = None  # type: ignore[assignment]

LOOPS = ["asyncio", "asyncio-debug", "uvloop", "uvloop-debug", "no-readers"]


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """What Windows' proactor loop looks like to offloop."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module", autouse=True)
def imports_stay() -> None:
    """What is imported by now stays: the collections after each test need not look at it.

    Anew for each module: some import a lot (SDKs, frameworks), and a look at it takes 0.2 s.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run[Any]:
    """`asyncio.run` on each kind of event loop."""
    kind = request.param
    if kind.startswith("uvloop") and uvloop is None:
        pytest.skip("uvloop has no build for this Python")
    factory: Any = asyncio.new_event_loop
    if kind.startswith("uvloop"):
        factory = uvloop.new_event_loop
    elif kind == "no-readers":
        factory = LoopWithoutReaders

    def run_main(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=factory, debug=kind.endswith("debug")) as runner:
            return runner.run(main)

    return run_main


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """`tests/servers/plain.py` over http."""
    with serve("plain") as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[Server]:
    """The same server for one test alone, which counts its connections."""
    with serve("plain") as running:
        yield running


@pytest.fixture(scope="session")
def ranges() -> Iterator[Server]:
    """`tests/servers/ranges.py`."""
    with serve("ranges") as running:
        yield running


@pytest.fixture
def own_ranges() -> Iterator[Server]:
    """The same server for one test alone, which counts its bytes."""
    with serve("ranges") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Unraisable errors and never-awaited warnings surface in the test that caused them."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def told() -> Iterator[Server]:
    """A server that answers what it is told, and tells what it got."""
    with serve("told") as running:
        yield running


@pytest.fixture(params=["asyncio", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of event loop a script uses, by name."""
    if request.param == "uvloop" and uvloop is None:
        pytest.skip("uvloop has no build for this Python")
    return request.param
