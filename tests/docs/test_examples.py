"""Every file in examples/ runs, and prints what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from servers import Server

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "choose_a_place.py": r"run: .*True\n.*False\n.*\n.*2262\n.*stuck.*\n.*goes on: 1",
    "crawl.py": r"10: StatusError\n10 pages",
    "download.py": r"20,000,000 bytes saved",
    "downloads.py": r"4 saved, 1 failed \(StatusError\)",
    "executor.py": r"hello, nobody\n.*hello, Ada\nLookupError: no such row\nJobTimeout after 0\.",
    "fastapi_app.py": r'200 \{"name":"Ada","total":700\}',
    "fetch_all.py": r"2,000 answers from 4 hosts, 0 errors",
    "fetch_many.py": r"200 +1,024 bytes",
    "files.py": r"333,833,500\n.*day,count\nequal: True\n.*copy.csv, report.csv\nmissing: No such",
    "find_blocking_line.py": r"time\.sleep\(0\.3\), better: await asyncio\.sleep\(0\.3\)",
    "forgotten_await.py": r"0 requests; .*never awaited\nhello; 1 request",
    "heartbeat.py": r"time\.sleep.*\n.*offloop\.run\(time\.sleep, 0\.5\) +\d+ beats",
    "httpx_transport.py": r"httpx Ada\n\['one', 'two'\]\nhttpx\.ReadTimeout",
    "loop_report.py": r"1 stall, .*\n.*: await asyncio\.sleep\(0\.3\)\nwritten: loop\.html",
    "many_urls.py": r"1,980 x 200, 20 x 404",
    "mock_server.py": r"passed  test_a_user_who_is_missing_is_an_error",
    "observe.py": r'offloop_fetch_requests_total 10\noffloop_pool_done_total\{pool="reports"\} 5',
    "offload_blocking.py": r"1,?024",
    "prefork.py": r"user 1\nuser 2\nForkedProcessError: ",
    "resume_download.py": r"TruncatedBody; .*part.journal\n16,000,000 bytes, resumed: True",
    "textual_app.py": r"Ada: the report",
    "three_downloads.py": r"one_after_another .*\ntogether +30,000",
    "upload_form.py": r"201 .*multipart/form-data",
}
"""What has to be found in the output, by file."""
ALOUD = {"find_blocking_line.py"}
"""What logs warnings on purpose."""
WITH_URLS = {"fetch_many.py", "offload_blocking.py"}


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(it.name for it in (ROOT / "examples").glob("*.py")))
def test_an_example_runs_and_prints_what_it_promises(name: str, server: Server, tmp_path: Path):
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    for needed in re.findall(r"^needs: (\w+)$", text, re.MULTILINE):
        pytest.importorskip(needed)
    urls = [f"{server.url}/1k"] * 3 if name in WITH_URLS else []
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), *urls]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "" or name in ALOUD
    wanted = EXPECTED.get(name)
    assert wanted is not None, f"say here what {name} prints"
    assert re.search(wanted, done.stdout), done.stdout
