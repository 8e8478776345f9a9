"""The console command `offloop`: parses arguments, runs one sub-command, gives its exit code.

::

    0    everything asked for was done
    1    something was not: a fetch failed, a result was wrong; stderr says what
    2    the command line itself was wrong
    130  ended by Ctrl-C

``offloop watch`` gives the exit code of the program that it runs.

A sub-command is one `Command` in `COMMANDS`. What it does lives in its own module, imported when
the sub-command is chosen, so that ``offloop --help`` stays quick. Errors travel as exceptions to
`main`, which alone turns them into a line on stderr and an exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offloop.exceptions import OffloopError

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED = 1
WRONG = 2
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
        parser = _parser()
        arguments = parser.parse_args(argv)
        if arguments.run is None:
            parser.print_help(sys.stderr)
            return WRONG
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


class _Version(argparse.Action):
    """Looks the version up when it is asked for, which takes longer than all of the parsing."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import importlib.metadata

        print(f"offloop {importlib.metadata.version('offloop')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="offloop",
        description="One awaitable for everything that would block asyncio.",
        epilog="exit codes: 0 done, 1 something failed, 2 wrong command line, 130 Ctrl-C",
    )
    parser.add_argument("--version", action=_Version, help="say which version this is, and end")
    parser.set_defaults(run=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
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


def _declare_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run_doctor(arguments: argparse.Namespace) -> int:
    from offloop import doctor

    report = doctor.examine()
    if arguments.json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(report), indent=1, ensure_ascii=False))
    else:
        doctor.show(report)
    return FAILED if report.broken else 0


def _declare_bench(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "cases",
        nargs="*",
        metavar="CASE",
        help="fetch, calls, steps, files or lines (default: all of them)",
    )
    add(
        "--seconds",
        type=_seconds,
        default=60.0,
        metavar="N",
        help="about how long all of it may take, from 5 to 3600 (default 60)",
    )
    add("--json", action="store_true", help="print one JSON object")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not from {_SHORTEST} to {_LONGEST} seconds")
    return seconds


_SHORTEST, _LONGEST = 5, 3600


def _run_bench(arguments: argparse.Namespace) -> int:
    from offloop._bench import show
    from offloop._bench.contest import CASES

    chosen = arguments.cases or list(CASES)
    if unknown := [case for case in chosen if case not in CASES]:
        print(f"offloop: no case {unknown[0]!r}: {', '.join(CASES)}", file=sys.stderr)
        return WRONG
    right = show.run(list(dict.fromkeys(chosen)), arguments.seconds, as_json=arguments.json)
    return 0 if right else FAILED


def _declare_get(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("urls", nargs="*", metavar="URL", help="what to download")
    add("-i", "--input", metavar="FILE", help="read URLs from FILE, one a line; - is stdin")
    add("-o", "--output", metavar="DIR", default=".", help="folder for the files; made if missing")
    add("--limit", type=_count, default=16, metavar="N", help="files at once (default 16)")
    add("--per-host", type=_count, default=4, metavar="N", help="at once of one host (default 4)")
    add("--rate", type=_rate, metavar="N", help="requests a second to one host (default: any)")
    add("--retries", type=_number, default=2, metavar="N", help="tries after the first (default 2)")
    add("--resume", action="store_true", help="go on with what is there; skip whole files")
    add(
        "--checksum",
        metavar="KIND[:HEX]",
        help="sha256, sha512, blake3 or md5: print it; with :HEX, of one URL: compare it",
    )
    add("--json", action="store_true", help="one line of JSON on stdout for each URL")
    add("-q", "--quiet", action="store_true", help="no progress and no list of files")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {_MOST}")
    return int(text)


def _count(text: str) -> int:
    if (count := _number(text)) == 0:
        raise argparse.ArgumentTypeError("it has to be 1 or more")
    return count


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate")
    return rate


_MOST = 10_000
"""The largest number that the command line takes; arbitrary."""


def _run_get(arguments: argparse.Namespace) -> int:
    from offloop import _get

    return _get.run(arguments)


def _declare_watch(parser: argparse.ArgumentParser) -> None:
    from offloop._watch import session

    def report(text: str) -> str:
        if not text.lower().endswith(session.FORMATS):
            raise argparse.ArgumentTypeError(f"it has to end in {', '.join(session.FORMATS)}")
        return text

    def time(text: str) -> float:
        try:
            return session.seconds(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    add = parser.add_argument
    add(
        "--threshold",
        type=time,
        default=0.1,
        metavar="TIME",
        help="how long a loop may take to come round: 50ms, 0.2s (default 100ms)",
    )
    add("--report", type=report, metavar="FILE", help="write FILE: .html .json .jsonl .sarif")
    add("--signal", metavar="NAME", help="signal for stacks: SIGUSR2, SIGRTMIN+5, none")
    add("-q", "--quiet", action="store_true", help="say nothing before the end")
    add("-m", dest="module", action="store_true", help="PROGRAM is a module, as for python -m")
    add("program", metavar="PROGRAM", help="the script; what follows it are its own arguments")
    add("arguments", nargs=argparse.REMAINDER, metavar="...", help=argparse.SUPPRESS)


def _run_watch(arguments: argparse.Namespace) -> int:
    from offloop._watch import session

    return session.run(arguments)


COMMANDS = (
    Command(
        name="get",
        summary="Download URLs into a folder, many at once; each file is whole or not there.",
        declare=_declare_get,
        run=_run_get,
    ),
    Command(
        name="watch",
        summary="Run a Python program, and name the lines that block its event loops.",
        declare=_declare_watch,
        run=_run_watch,
    ),
    Command(
        name="demo",
        summary="Show what offloop does, timed against a slow server of its own on loopback.",
        declare=_declare_demo,
        run=_run_demo,
    ),
    Command(
        name="doctor",
        summary="Tell what offloop finds on this machine, and what of it makes programs slow.",
        declare=_declare_doctor,
        run=_run_doctor,
    ),
    Command(
        name="bench",
        summary="Compare offloop on this machine with what is installed, in about a minute.",
        declare=_declare_bench,
        run=_run_bench,
    ),
)
