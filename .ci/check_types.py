"""Checks that every public name of the installed wheel has a known type: pyright's `--verifytypes`.

usage: check_types.py WHEEL

The wheel is installed with its extras into an environment of its own: what is checked is what
users get, not the folder python/.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

EXTRAS = "cli,dask,httpx,httpx2,otel"
SHOWN = 20
"""Names that are told of; more would hide the first ones."""


def verified(folder: Path) -> dict[str, object]:
    """Return pyright's report about the `offloop` installed in the environment `folder`."""
    # By the environment, not by --pythonpath: the latter is not heeded together with this option.
    environment = {
        **os.environ,
        "VIRTUAL_ENV": str(folder),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    }
    pyright = [sys.executable, "-m", "pyright", "--outputjson", "--ignoreexternal"]
    # Elsewhere than here: a pyproject.toml would have it look at our sources.
    done = subprocess.run(
        [*pyright, "--verifytypes", "offloop"],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    report: dict[str, object] = json.loads(done.stdout)["typeCompleteness"]
    return report


def main(wheel: str) -> str | None:
    """Return what is wrong, or None."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "venv")
        venv.create(folder, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        python = str(folder / "bin" / "python")
        needed = [f"{Path(wheel).resolve()}[{EXTRAS}]", "pytest"]
        subprocess.run([*pip, "--python", python, "install", *needed], check=True)
        report = verified(folder)
    symbols = report["symbols"]
    assert isinstance(symbols, list)
    score = report["completenessScore"]
    exported = [it for it in symbols if it["isExported"]]
    print(f"pyright knows the type of {score:.1%} of {len(exported)} public names")
    vague = [it for it in symbols if not it["isTypeKnown"] or it["isTypeAmbiguous"]]
    if not exported or score != 1:
        return "\n".join(["not completely typed:", *(it["name"] for it in vague[:SHOWN])])
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
