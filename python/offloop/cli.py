"""The console command `offloop`: parses arguments, runs one sub-command, gives its exit code.

::

    0    everything asked for was done
    1    something was not: a fetch failed, a result was wrong; stderr says what
    2    the command line itself was wrong
    130  ended by Ctrl-C

A sub-command is one `Command` in `COMMANDS`. What it does lives in its own module, imported when
the sub-command is chosen, so that ``offloop --help`` stays quick. Errors travel as exceptions to
`main`, which alone turns them into a line on stderr and an exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offloop.exceptions import OffloopError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = 1
INTERRUPTED = 130
"""What shells report of a program that ended by SIGINT: 128 + 2."""


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command: its name, a line of help, its arguments, and what it does."""

    name: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return its exit code.

    Raises SystemExit, as argparse does, for ``--help`` and a wrong command line.
    """
    try:
        arguments = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace], int] = arguments.run
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("offloop: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output, `head` for instance, has left. Python would complain once
        # more when it flushes at exit: https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (OffloopError, OSError) as error:
        print(f"offloop: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="offloop",
        description="One awaitable for everything that would block asyncio.",
        epilog="exit codes: 0 done, 1 something failed, 2 wrong command line, 130 Ctrl-C",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name, help=command.summary, description=command.summary
        )
        command.declare(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _declare_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help="fetch these together instead of telling the stories against an embedded server",
    )


def _run_demo(arguments: argparse.Namespace) -> int:
    from offloop.demo import show

    right = show.fetch_urls(arguments.urls) if arguments.urls else show.tell_stories()
    return 0 if right else FAILED


COMMANDS = (
    Command(
        name="demo",
        summary="Show what offloop does, timed against a slow server of its own on loopback.",
        declare=_declare_demo,
        run=_run_demo,
    ),
)
