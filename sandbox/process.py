"""Runs programs quietly, and shows how long steps take."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox.errors import SandboxError

SHOWN_LINES = 12
DOCTOR = "`python3 -m sandbox doctor` checks this machine, `python3 -m sandbox clean` removes everything"


def run(command: Sequence[str], what: str, stdin: bytes | None = None, remedy: str = DOCTOR) -> str:
    """Run a program, silent unless it fails.

    Args:
        command: program and arguments.
        what: the purpose, for the error message.
        stdin: bytes for its standard input.
        remedy: what to do if it fails.

    Returns:
        Its standard output.

    Raises:
        SandboxError: it failed; the message has its last lines.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-SHOWN_LINES:]
        raise SandboxError("\n  | ".join([f"{what} failed (exit status {done.returncode})", *lines]), remedy)
    return done.stdout.decode(errors="replace")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print one line for a long step: its title when it starts, its duration when it ends."""
    print(f"sandbox: {title} ...", end=" ", flush=True, file=sys.stderr)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", file=sys.stderr)
        raise
    print(f"{time.monotonic() - start:.1f} s", file=sys.stderr)
