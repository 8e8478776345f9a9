"""What pytest finds of offloop: a fixture, options, a marker. The entry point is ``offloop``.

pytest imports this in every run of every project that has offloop installed, so nothing is
imported before it is asked for: what the options switch on is in `offloop.testing._pytest`.

PYTEST_DONT_REWRITE: there is nothing to rewrite here.
"""

from __future__ import annotations

import argparse

import pytest

TYPE_CHECKING = False  # `typing` need not be imported
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from offloop.testing.router import MockRouter


@pytest.fixture
def offloop_router() -> Iterator[MockRouter]:
    """Run an `offloop.testing.MockRouter` for one test and verify it when the test has ended.

    ::

        def test_users(offloop_router):
            offloop_router.get("https://api.example.com/users/7").respond(json={"name": "Ada"})
            client = offloop_router.client()
            ...

    Requests without a route are an error at teardown, and so is what handlers raised.
    """
    from offloop.testing.router import MockRouter

    with MockRouter() as router:
        yield router


class _Limit(argparse.Action):
    """An option that may have a limit, ``--name`` or ``--name=50ms``, and takes no path for it."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        if values != self.const and _is_path(values):
            # `pytest --offloop-fail-on-block tests/`: argparse takes it for the option's value.
            setattr(namespace, self.dest, self.const)
            others = getattr(namespace, "_unrecognized_args", [])
            namespace._unrecognized_args = [*others, values]
        else:
            setattr(namespace, self.dest, values)


def _is_path(text: str) -> bool:
    import os.path

    return os.path.exists(text.partition("::")[0])  # noqa: PTH110 - pathlib need not be imported


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and what an ini file may say instead."""
    group = parser.getgroup("offloop", "offloop: event loops that are blocked, forgotten awaits")
    group.addoption(
        "--offloop-fail-on-block",
        action=_Limit,
        nargs="?",
        const="50ms",
        metavar="LIMIT",
        help="fail tests that block the event loop for longer than LIMIT (ms or s; default 50ms)",
    )
    group.addoption(
        "--offloop-watch",
        action=_Limit,
        nargs="?",
        const="50ms",
        metavar="LIMIT",
        help="only report what blocks the event loop for longer than LIMIT, and forgotten awaits",
    )
    group.addoption(
        "--offloop-baseline",
        metavar="FILE",
        help="blocks that are known: those in FILE are reported and do not fail",
    )
    group.addoption(
        "--offloop-write-baseline",
        action="store_true",
        help="write what blocks in this run to the baseline, and fail no test for it",
    )
    group.addoption(
        "--offloop-fail-on-forgotten",
        action="store_true",
        help="fail tests in which a coroutine or a Job was never awaited",
    )
    for name, kind, text in (
        ("fail_on_block", "string", "as --offloop-fail-on-block: a limit, or off"),
        ("watch", "string", "as --offloop-watch: a limit, or off"),
        ("baseline", "string", "as --offloop-baseline, from the folder of this file"),
        ("warm_up", "linelist", "functions that load once, as module.function or module.*"),
        ("fail_on_forgotten", "bool", "as --offloop-fail-on-forgotten"),
    ):
        default: Any = False if kind == "bool" else None
        parser.addini(f"offloop_{name}", text, type=kind, default=default)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Switch on what is asked for."""
    config.addinivalue_line(
        "markers",
        "blocking_ok(reason=None, max=None): the test may block the event loop, for at most `max` "
        "(seconds, or a text like '200ms'; any time without it)",
    )
    asked = (
        config.option.offloop_fail_on_block,
        config.option.offloop_watch,
        config.option.offloop_baseline,
        config.option.offloop_write_baseline,
        config.option.offloop_fail_on_forgotten,
        config.getini("offloop_fail_on_block"),
        config.getini("offloop_watch"),
        config.getini("offloop_fail_on_forgotten"),
    )
    if any(asked):
        from offloop.testing._pytest import switch_on

        switch_on(config)
