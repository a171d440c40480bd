"""Runs programs quietly, and shows how long steps take."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox.errors import SandboxError

SHOWN_LINES = 12
# How timeout ends: 124, or 137 if the program ignored the first signal.
_OUT_OF_TIME = (124, 137)
DOCTOR = "`python3 -m sandbox doctor` checks this machine, `python3 -m sandbox clean` removes everything"


def run(
    command: Sequence[str], what: str, stdin: bytes | None = None, remedy: str = DOCTOR, limit: float | None = None
) -> str:
    """Run a program, silent unless it fails.

    Args:
        command: program and arguments.
        what: the purpose, for the error message.
        stdin: bytes for its standard input.
        remedy: what to do if it fails.
        limit: seconds that it may take; None for no limit.

    Returns:
        Its standard output.

    Raises:
        SandboxError: it failed, and the message has its last lines; or it was ended at the limit.
    """
    # timeout ends its children, too.
    limited = ["timeout", "--kill-after=10", str(limit), *command] if limit else command
    done = subprocess.run(limited, input=stdin, capture_output=True, check=False)
    if limit and done.returncode in _OUT_OF_TIME:
        raise SandboxError(f"{what} was ended after {limit:.0f} s", "check that apt reaches its package mirror")
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
