"""Does what a new user does: installs offloop, runs every block of the README, and every example.

usage: check_readme.py [WHAT]       WHAT: a wheel, or the folder to be installed (default: this one)

It is installed by pip into an environment of its own, outside of the repository. Blocks of Python
run as printed, in their order, in one namespace: `url` and `urls` lead to a server on loopback,
`client` is an `offloop.Client`, `await` works. A block with ``asyncio.run`` is a program. Examples
get what their ``needs:`` lines say. The two commands of the first screen are run by CI itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^needs: (\w+)$", re.MULTILINE)
WITH_URLS = re.compile(r"^usage: python \S+ URL", re.MULTILINE)
LIMIT = 120

SERVER = """
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        body = b'{"n": 1}\\n{"n": 2}\\n'
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""

RUN = """
import ast, asyncio, inspect, json, sys
import offloop

async def main(blocks, url):
    names = {"__name__": "readme", "asyncio": asyncio, "offloop": offloop}
    names.update(url=url, urls=[url] * 3, client=offloop.Client())
    for number, code in enumerate(blocks, 1):
        compiled = compile(code, f"README block {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        outcome = eval(compiled, names)
        if inspect.iscoroutine(outcome):
            async with asyncio.timeout(60):
                await outcome

if __name__ == "__main__":
    blocks, url = json.load(open(sys.argv[1])), sys.argv[2]
    asyncio.run(main(blocks, url))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return what it prints; a failure ends everything, with its output."""
    done = subprocess.run(
        [str(it) for it in command],
        check=False,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT * 10,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def run_blocks(python: Path, folder: Path, url: str) -> int:
    """Run the blocks of the README; returns how many there are."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    (folder / "run.py").write_text(RUN)
    fragments = []
    for number, code in enumerate(blocks):
        if "asyncio.run(" in code:
            program = folder / f"program{number}.py"
            program.write_text(code.replace("http://127.0.0.1:8000/", url))
            run(python, program, cwd=folder)
        else:
            fragments.append(code)
    (folder / "blocks.json").write_text(json.dumps(fragments))
    run(python, folder / "run.py", folder / "blocks.json", url, cwd=folder)
    return len(blocks)


def run_examples(python: Path, pip: list[str], folder: Path, url: str) -> int:
    """Run all examples with nothing installed but what they say; returns how many there are."""
    examples = sorted((ROOT / "examples").glob("*.py"))
    for example in examples:
        text = example.read_text(encoding="utf-8")
        if needed := NEEDS.findall(text):
            run(*pip, "install", *needed, cwd=folder)
        urls = [url] * 3 if WITH_URLS.search(text) and "without one" not in text else []
        run(python, example, *urls, cwd=folder)
    return len(examples)


def main(what: str = str(ROOT)) -> str | None:
    """Return what is wrong, or None."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        venv.create(folder / "venv", with_pip=False)
        python = folder / "venv" / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        pip += ["--python", str(python)]
        run(*pip, "install", Path(what).resolve(), cwd=folder)
        with subprocess.Popen(
            [str(python), "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                url = f"http://127.0.0.1:{int(server.stdout.readline())}/"
                blocks = run_blocks(python, folder, url)
                examples = run_examples(python, pip, folder, url)
            finally:
                server.communicate()
    print(f"{blocks} blocks of the README and {examples} examples run as printed")
    return None if blocks and examples else "there is nothing to run"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
