"""Each way to fail is its own class, with fields, without secrets, and leaves the client usable."""

from __future__ import annotations

import asyncio
import errno
import pickle
import socket
import time
from typing import Any

import pytest

import offloop
from servers import Server


def fail(url: str, expected: type[Exception], **options: Any) -> Any:
    """The error of a fetch, pickled and unpickled on the way."""

    async def main() -> None:
        await offloop.fetch(url, **options)

    with pytest.raises(expected) as caught:
        asyncio.run(main())
    error = caught.value
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    return error


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org/",
        "http://",
        "http://a b/",
        "http://0x7f.1/",
        "http://a..b/",
        "http://[::1",
    ],
)
def test_a_url_that_is_not_dialled_as_written_is_refused_at_the_call(url: str) -> None:
    with pytest.raises(offloop.InvalidURL) as caught:
        offloop.fetch(url)
    assert isinstance(caught.value, ValueError)


def test_arguments_of_the_wrong_type_are_type_errors(server: Server) -> None:
    for call in (
        lambda: offloop.fetch(3),  # type: ignore[arg-type]
        lambda: offloop.fetch(server.url, timeout="soon"),
        lambda: offloop.fetch(server.url, content=3),
        lambda: offloop.fetch(server.url, headers={"a": 3}),
        lambda: offloop.fetch(server.url, nonsense=True),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="positive"):
        offloop.fetch(server.url, timeout=-1)


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0b"])
def test_header_injection_is_refused_at_the_call(server: Server, value: str) -> None:
    for headers in ({"x": value}, {value: "x"}):
        with pytest.raises(offloop.InvalidHeader):
            offloop.fetch(server.url, headers=headers)
    with pytest.raises(offloop.InvalidHeader):
        offloop.fetch(server.url, method=value)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    error = fail(f"http://user:hunter2@127.0.0.1:{port}/x?token=hunter2", offloop.ConnectError)
    assert isinstance(error, ConnectionError)
    assert error.errno == errno.ECONNREFUSED
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert error.phase == "connect"
    assert error.url == f"http://127.0.0.1:{port}/x"
    assert "hunter2" not in repr(error)


def test_a_name_that_does_not_exist() -> None:
    error = fail("http://no-such-host.invalid/", offloop.DNSError)
    assert isinstance(error, offloop.ConnectError)


def test_the_total_timeout_covers_everything(server: Server) -> None:
    for path in ("/hang", "/slow-body"):
        began = time.monotonic()
        error = fail(f"{server.url}{path}", offloop.TotalTimeout, timeout=0.2)
        assert isinstance(error, TimeoutError)
        assert 0.15 < time.monotonic() - began < 2


def test_a_body_that_is_cut_is_not_taken_for_whole(server: Server) -> None:
    for sent in (0, 1, 500, 999):
        error = fail(f"{server.url}/cut/{sent}", offloop.TruncatedBody)
        assert error.phase == "body"


def test_a_server_that_speaks_no_http(server: Server) -> None:
    assert fail(f"{server.url}/garbage", offloop.ProtocolError).phase == "head"


def test_after_every_failure_the_next_request_works(server: Server) -> None:
    async def main() -> None:
        async with offloop.Client() as client:
            for path in ("/cut/10", "/garbage", "/hang", "/slow-body"):
                with pytest.raises(offloop.FetchError):
                    await client.get(f"{server.url}{path}", timeout=0.2)
                assert (await client.get(f"{server.url}/1k")).status_code == 200

    asyncio.run(main())


def test_every_exception_is_exported_and_has_its_builtin_base() -> None:
    bases = {
        "ConnectError": ConnectionError,
        "FetchTimeout": TimeoutError,
        "InvalidURL": ValueError,
        "InvalidBody": ValueError,
        "InvalidHeader": ValueError,
        "LifecycleError": RuntimeError,
        "ResourceExhausted": OSError,
    }
    from offloop import exceptions

    for name, value in vars(exceptions).items():
        if isinstance(value, type) and issubclass(value, offloop.OffloopError):
            assert getattr(offloop, name) is value
            assert issubclass(value, bases.get(name, Exception))
            error = value("text")
            assert str(pickle.loads(pickle.dumps(error))) == "text"
