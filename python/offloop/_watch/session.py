"""A watch for a whole process: of ``OFFLOOP_WATCH``, and of ``offloop watch SCRIPT``.

Both watch every loop of the process until it ends. What is found is said on stderr.
"""

from __future__ import annotations

import atexit
import os
import re
import runpy
import sys
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from offloop._watch import summary
from offloop.watch import Health, watch

if TYPE_CHECKING:
    import argparse

    from offloop._watch.stall import Stall

VARIABLE = "OFFLOOP_WATCH"
REPORT_VARIABLE = "OFFLOOP_WATCH_REPORT"
FORMATS = (".html", ".json", ".jsonl", ".sarif")
SHOWN = 20
"""Lines of the summary at the end."""

_ON = {"1", "true", "yes", "on"}
_OFF = {"", "0", "false", "no", "off"}


def seconds(text: str) -> float:
    """Read a time: ``50ms``, ``0.1s``, or a plain number of seconds.

    Raises ValueError for anything else, and for what is not above 0.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|)", text.strip().lower())
    value = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"{text!r} is no time: 50ms or 0.1s are")
    return value


def install_from_environment() -> Health | None:
    """Install a watch if ``OFFLOOP_WATCH`` says so: ``1``, or a threshold, ``50ms``.

    ``OFFLOOP_WATCH_REPORT`` names a file for a report at the end. It is meant for this process:
    those it starts do not inherit it.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted in _OFF:
        return None
    path = os.environ.pop(REPORT_VARIABLE, None)
    try:
        threshold = 0.1 if wanted in _ON else seconds(wanted)
        _check_format(path)
        health = watch.install(threshold, aloud=True)
    except (ValueError, OSError) as error:
        # A variable must not keep a program from running.
        print(f"offloop: {VARIABLE} is ignored: {error}", file=sys.stderr)
        return None
    if path is not None:
        atexit.register(_report, health, path)
    return health


def _check_format(path: str | None) -> None:
    if path is not None and PurePath(path).suffix.lower() not in FORMATS:
        raise ValueError(f"{REPORT_VARIABLE}={path}: a report ends in {', '.join(FORMATS)}")


def _report(health: Health, path: str) -> None:
    health.stop()
    if os.getpid() != health._pid:
        return
    try:
        health.report(path)
    except OSError as error:
        print(f"offloop: no report: {error}", file=sys.stderr)


def run(arguments: argparse.Namespace) -> int:
    """Run a script under a watch; gives its exit code."""
    told = _Told()
    health = Health(
        arguments.threshold, told.tell, arguments.signal, aloud=not arguments.quiet, logs=False
    )
    told.quiet = arguments.quiet
    health._attach_or_install()
    if arguments.report is not None:
        atexit.register(_report, health, str(Path(arguments.report).absolute()))
    # After this program's own exit handlers and its threads: loops may run until then.
    atexit.register(_summarise, health, arguments.report)
    return _run_program(arguments.program, arguments.arguments, as_module=arguments.module)


class _Told:
    """Says each stall when it is found, and the same place once in ten seconds."""

    def __init__(self) -> None:
        self.quiet = False
        self._last: dict[tuple[Any, ...], float] = {}

    def tell(self, stall: Stall) -> None:
        place = (stall.file, stall.line, stall.cause)
        last = self._last.get(place)
        if self.quiet or (last is not None and stall.began - last < 10):  # noqa: PLR2004
            return
        if len(self._last) > 1000:  # noqa: PLR2004 - arbitrary, a bound
            self._last.clear()
        self._last[place] = stall.began
        print(f"offloop: {stall}", file=sys.stderr, flush=True)


def _run_program(program: str, arguments: list[str], *, as_module: bool) -> int:
    """Run a script, or a module, as ``python`` would."""
    try:
        if as_module:
            sys.argv = [program, *arguments]
            sys.path[0] = str(Path.cwd())
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            _run_script(program, arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        _show(error)
        return 130
    except BaseException as error:  # noqa: BLE001 - whatever it is, Python would print it
        _show(error)
        return 1
    return 0


def _run_script(program: str, arguments: list[str]) -> None:
    path = Path(program)
    if path.is_dir() or path.suffix in {".zip", ".pyz"}:
        sys.argv = [program, *arguments]
        runpy.run_path(program, run_name="__main__")
        return
    path = path.absolute()
    loader = SourceFileLoader("__main__", str(path))
    code = loader.source_to_code(loader.get_data(str(path)), str(path))
    # Not by `runpy`, which takes the module's globals away when its last line has run: threads
    # and exit handlers may need them.
    main = types.ModuleType("__main__")
    vars(main).update(__file__=str(path), __loader__=loader, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.argv = [program, *arguments]
    sys.path[0] = str(path.resolve().parent)
    exec(code, vars(main))  # noqa: S102 - it is the user's own program


def _show(error: BaseException) -> None:
    """Print a traceback without the frames that are not the program's."""
    traceback = error.__traceback__
    own = {__file__, runpy.__file__, "<frozen runpy>"}
    while traceback is not None and traceback.tb_frame.f_code.co_filename in own:
        traceback = traceback.tb_next
    if isinstance(error, SyntaxError) and traceback is not None:
        inside = traceback.tb_frame.f_code.co_filename
        traceback = None if inside.startswith("<frozen importlib") else traceback
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)


def _summarise(health: Health, report: str | None) -> None:
    """Say on stderr what was found."""
    health.stop()
    if os.getpid() != health._pid:
        return
    stats = health.stats()
    say = sys.stderr.write
    if not stats.watched:
        say("\noffloop watch: no event loop has run\n")
        return
    number = f"{stats.stalls} stall{'' if stats.stalls == 1 else 's'}"
    say(
        f"\noffloop watch: {number}, {stats.blocked:.2f} s blocked; "
        f"loops ran for {stats.watched:.2f} s and were at work for {stats.utilisation:.0%} of it\n"
    )
    places = summary.places(health.stalls)
    if places:
        say(f"  {'total':>9} {'longest':>9} {'count':>5}  where\n")
    for place in places[:SHOWN]:
        worst = place.worst
        where = f"{_short(place.file)}:{place.line}" if place.file else "somewhere"
        code = f": {worst.code}" if worst.code else ""
        say(f"  {place.total:7.3f} s {place.longest:7.3f} s {place.count:5}  {where}{code}\n")
        mend = f" → {worst.mend.code}" if worst.mend is not None else ""
        say(f"{'':30}{worst.reason}{mend}\n")
    if len(places) > SHOWN:
        say(f"{'':30}and {len(places) - SHOWN} more\n")
    if report is not None:
        say(f"report: {report}\n")


def _short(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file
