"""Renews the hash-locked requirements files from their ``.in`` files.

``python -m tools.lock`` needs uv; the locks record no download address.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The inputs of the locks.
INPUTS = (
    "app/requirements.in",
    "benchmarks/requirements.in",
    "benchmarks/stock.in",
    "roles/artifact/files/server.in",
    "roles/artifact/files/build.in",
    "requirements/dev.in",
)


def main() -> int:
    """Renew every lock, and return the exit status of the first failure."""
    for name in INPUTS:
        print(f"lock: {name}", flush=True)
        done = subprocess.run(
            [
                sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
                "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--allow-unsafe", "--upgrade",
                "--custom-compile-command", "make lock", name, "--output-file", str(Path(name).with_suffix(".txt")),
            ],
            cwd=ROOT, check=False,
        )  # fmt: skip
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
