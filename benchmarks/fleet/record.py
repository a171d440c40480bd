"""Records a sandbox host's answers in a deploy with nothing to do: ``python -m benchmarks.fleet.record``."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.deploys import BUILD, ROOT, hosts, sandbox
from benchmarks.fleet import recording

# An ssh that keeps a copy of its input and of its output.
_SSH = """\
#!/bin/sh
case "$*" in
*"/bin/sh -c"*) tee "$0-$$.in" | ssh "$@" | tee "$0-$$.out" ;;
*) exec ssh "$@" ;;
esac
"""


def deploy(inventory: Path, *words: str) -> None:
    """Deploy the sample application."""
    command = ("ansible-playbook", "--inventory", str(inventory), "deploy.yml", "-e", "mode=gevent")
    source = ("-e", f"flask_uwsgi_source={ROOT / 'app'}")
    subprocess.run([*command, *source, *words], cwd=ROOT, check=True)


def answers(folder: Path) -> dict[str, Any]:
    """Return the answers that the ssh has kept, by module name.

    Args:
        folder: the folder of the ssh.

    Raises:
        RecordingError: something other than a module was run.
        ValueError: a module did not answer with JSON.
    """
    found: dict[str, Any] = {}
    for program in sorted(folder.glob("*.in")):
        # After the message with which become confirms its success.
        text = program.with_suffix(".out").read_text()
        found[recording.module(program.read_bytes())] = json.loads(text[text.index("{") :])
    return found


def main() -> None:
    """Deploy to a new host twice, and record the second deploy."""
    with tempfile.TemporaryDirectory() as name:
        folder, inventory = Path(name, "ssh"), Path(name, "sandbox.yml")
        folder.mkdir()
        ssh = folder / "ssh"
        ssh.write_text(_SSH)
        ssh.chmod(0o755)
        try:
            with hosts(1, inventory):
                deploy(inventory)
                deploy(inventory, "-e", f"ansible_ssh_executable={ssh}")
        finally:
            sandbox("down", BUILD.partition(":")[0])
        text = json.dumps(recording.scrubbed(answers(folder)), indent=2)
    recording.ANSWERS.write_text(text + "\n")


if __name__ == "__main__":
    main()
