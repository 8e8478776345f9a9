"""Checks that the source distribution builds a wheel out of its own files, without a network.

usage: check_sdist.py SDIST [PROFILE]

It is unpacked into a temporary folder and built by `pip wheel` with cargo offline; the crates were
fetched when the project itself was built. PROFILE (default release) is cargo's. The wheel is
installed into an environment of its own, and does something.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

USE = """
import asyncio, offloop
assert asyncio.run(offloop.run(sum, [1, 2])) == 3
print("the wheel built from the sdist works:", offloop.__file__)
"""


def main(sdist: str, profile: str = "release") -> str | None:
    """Return what is wrong, or None."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = {
            **os.environ,
            "CARGO_NET_OFFLINE": "true",
            "MATURIN_PEP517_ARGS": f"--profile {profile}",
            # Crates that are built already need not be built again.
            "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(Path("target").resolve())),
        }
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        # Without isolation: maturin is here already, and an index is not.
        build = [*pip, "wheel", "--no-index", "--no-build-isolation", "--no-deps"]
        built = subprocess.run(
            [*build, "-w", temporary, sdist],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
        )
        wheels = list(folder.glob("*.whl"))
        if built.returncode or not wheels:
            return f"the sdist does not build:\n{built.stdout}{built.stderr}"
        venv.create(folder / "venv", with_pip=False)
        python = folder / "venv" / "bin" / "python"
        install = [*pip, "--python", str(python), "install", "--no-index", "--no-deps"]
        subprocess.run([*install, str(wheels[0])], check=True)
        subprocess.run([str(python), "-c", USE], check=True, cwd=temporary)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
