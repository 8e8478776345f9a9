"""Runs the cases and prints where offloop and curl differ."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import ssl
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import trustme

import offloop

from .arguments import Inexpressible, file
from .case import Case
from .command import plan
from .compare import (
    answers_differ,
    error_differs,
    jar_differs,
    load_jar,
    requests_differ,
)  # fmt: skip
from .explained import EXCLUDED, EXPLAINED
from .server import LONGEST_HEAD, Canned

_BEYOND = {
    "waits for 100 Continue": r"--expect100|HTTP/1.1 417|no-expect|skip: ",
    "a build of curl for its developers": r"CURL_SMALLREQSEND",
    "reads a file of settings by itself": r"\.curlrc|curlrc",
    "names only this machine's maker knows": r"ip6-localhost",
    "needs another server": r"%(FTP|SOCKS|HTTP2|HTTP3|HTTPSPROXY|GOPHER|TFTP)\w*PORT|%SOCKSUNIX",
}
"""Cases that are about something else, by what is written in them."""

_FIXED = {
    "HOSTIP": "127.0.0.1",
    "CLIENTIP": "127.0.0.1",
    "HOST6IP": "[::1]",
    "CLIENT6IP": "[::1]",
    "NOLISTENPORT": "1",
    "VERSION": "7.88.1",
    "USER": "user",
}

LIMIT = 45.0
"""Seconds for one case; some wait on purpose."""


async def replay(path: Path) -> str | None:
    """What differs in one case, or None; `Inexpressible` if it cannot be put to offloop."""
    canned = Canned(None)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(canned.close)
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        listener = await asyncio.start_server(canned.serve, "127.0.0.1", 0, limit=LONGEST_HEAD)
        stack.push_async_callback(_stop, listener)
        port = listener.sockets[0].getsockname()[1]
        listener6 = await asyncio.start_server(canned.serve, "::1", 0)
        stack.push_async_callback(_stop, listener6)
        unix = await asyncio.start_unix_server(canned.serve, f"{scratch}/socket")
        stack.push_async_callback(_stop, unix)
        secure = await asyncio.start_server(canned.serve, "127.0.0.1", 0, ssl=_context())
        stack.push_async_callback(_stop, secure)
        variables = _FIXED | {
            "HTTPPORT": str(port),
            "PROXYPORT": str(port),
            "HTTP6PORT": str(listener6.sockets[0].getsockname()[1]),
            "HTTPSPORT": str(secure.sockets[0].getsockname()[1]),
            "HTTPUNIXPATH": f"{scratch}/socket",
            "PWD": scratch,
            "FILE_PWD": scratch,
            "SRCDIR": str(path.parent.parent),
        }
        case = Case(path, variables)
        canned.case = case
        if any(word.endswith(".pem") for word in case.text("server").split()):
            raise Inexpressible("needs a certificate of the suite")
        for reason, pattern in _BEYOND.items():
            if re.search(
                pattern,
                case.text("command")
                + case.text("server")
                + " ".join(it.decode("latin-1") for it in case.everything()),
            ):
                raise Inexpressible(reason)
        steps = plan(case, variables)
        code = int(case.text("errorcode") or 0)
        if code in (2, 4, 23, 25, 26, 27, 33, 36, 43, 49, 66, 67, 77):
            raise Inexpressible(f"exit code {code} is about the command line tool")
        jar = None
        if steps.jar_from is not None or steps.jar_to is not None:
            text = file(case, steps.jar_from) if steps.jar_from else None
            jar = load_jar(text) if text else offloop.Cookies()
            steps.client["cookies"] = jar
        error: BaseException | None = None
        answers: list[offloop.Response] = []
        before = dict(os.environ)
        os.environ.update(steps.environment)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                client = offloop.Client(
                    trust_env=bool(steps.environment), retry_stale=True, **steps.client
                )
            async with client:
                for call in steps.calls:
                    try:
                        if call.fail_on_status:
                            # As curl: an error is told by the head alone.
                            answer = await client.stream(call.method, call.url, **call.options)
                            if answer.is_error:
                                answer.close()
                            answer.raise_for_status()
                            await answer.aread()
                        else:
                            answer = await client.request(call.method, call.url, **call.options)
                        answers.append(answer)
                        error = None
                    except offloop.OffloopError as caught:
                        error = caught
        except offloop.OffloopError as caught:
            error = caught
        finally:
            os.environ.clear()
            os.environ.update(before)
        differs = error_differs(code, error)
        differs = differs or requests_differ(case, canned.seen, steps.calls)
        if not differs and error is None:
            differs = answers_differ(case, answers)
        if not differs and jar is not None and steps.jar_to:
            for section in case.sections.get("file", []):
                if section.attributes.get("name") == steps.jar_to and b"Netscape" in section.text:
                    differs = jar_differs(section.text, jar)
        return differs


async def _stop(listener: asyncio.Server) -> None:
    listener.close()


_made: list[ssl.SSLContext] = []


def _context() -> ssl.SSLContext:
    if not _made:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost", "127.0.0.1").configure_cert(context)
        _made.append(context)
    return _made[0]


async def _all(paths: list[Path], *, verbose: bool) -> int:
    left_out: Counter[str] = Counter()
    agree, explained, excluded, open_ = 0, 0, 0, 0
    for path in paths:
        number = int(path.name.removeprefix("test"))
        try:
            differs = await asyncio.wait_for(replay(path), LIMIT)
        except Inexpressible as reason:
            left_out[str(reason)] += 1
            if verbose:
                print(f"{number}: left out: {reason}")
            continue
        except TimeoutError:
            differs = f"took more than {LIMIT} s"
        except Exception as error:
            differs = f"could not be replayed: {error!r}"
        if differs is None:
            agree += 1
            if number in EXPLAINED:
                print(f"{number}: agrees, but is listed as explained")
        elif number in EXPLAINED:
            explained += 1
            excluded += number in EXCLUDED
            print(
                f"{number}: explained: {EXPLAINED[number]} [{differs}]"
                if verbose
                else f"{number}: explained: {EXPLAINED[number]}"
            )
        else:
            open_ += 1
            print(f"{number}: DIFFERS: {differs}")
    replayed = agree + explained + open_
    print(
        f"\nreplayed {replayed}: {agree} agree ({agree / max(replayed, 1):.1%}), "
        f"{explained} differ for the reasons above, {open_} differ without one; "
        f"{sum(left_out.values())} cannot be put to offloop"
    )
    within = replayed - excluded
    print(
        f"without the {excluded} that ask for what the documents exclude: "
        f"{agree} of {within} agree ({agree / max(within, 1):.1%})"
    )
    if verbose:
        for reason, count in left_out.most_common():
            print(f"  {count:4} {reason}")
    return 1 if open_ else 0


def main() -> int:
    """Read the command line; the exit status says whether a difference has no explanation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the suite's tests/data")
    parser.add_argument("numbers", nargs="*", type=int, help="only these cases")
    parser.add_argument("-v", "--verbose", action="store_true")
    given = parser.parse_intermixed_args()
    paths = sorted(given.data.glob("test[0-9]*"), key=lambda path: int(path.name[4:]))
    chosen = []
    for path in paths:
        if given.numbers:
            if int(path.name[4:]) in given.numbers:
                chosen.append(path)
            continue
        text = path.read_bytes()
        servers = text.partition(b"<server>")[2].partition(b"</server>")[0].split()
        if servers and any(it.startswith(b"http") for it in servers) and b"<tool>" not in text:
            chosen.append(path)
    return asyncio.run(_all(chosen, verbose=given.verbose))


if __name__ == "__main__":
    sys.exit(main())
