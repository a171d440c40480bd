"""Renews the hash-locked requirements files from their ``.in`` files.

``python -m tools.lock`` needs uv; the locks record no download address.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The inputs of the locks, each with the oldest Python that it is for. A lock has a version of a package for each Python
# that needs another one, and pip and the plan take what applies (plugins/plugin_utils/source/markers.py).
INPUTS = {
    "app/requirements.in": "3.9",
    "benchmarks/requirements.in": "3.11",
    "benchmarks/stock.in": "3.11",
    "roles/artifact/files/server.in": "3.9",
    "roles/artifact/files/build.in": "3.9",
    "requirements/dev.in": "3.11",
}


def main() -> int:
    """Renew every lock, and return the exit status of the first failure."""
    for name, python in INPUTS.items():
        print(f"lock: {name}", flush=True)
        done = subprocess.run(
            [
                sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", python,
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
