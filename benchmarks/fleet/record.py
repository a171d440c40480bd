"""Records a sandbox host's answers: ``python -m benchmarks.fleet.record``.

What every deploy asks first is answered by a host with nothing to do, everything else by one that gets new code.
"""

from __future__ import annotations

import json
import shutil
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


def deploy(inventory: Path, app: Path, *words: str) -> None:
    """Deploy an application."""
    command = ("ansible-playbook", "--inventory", str(inventory), "deploy.yml", "-e", "mode=gevent")
    source = ("-e", f"flask_uwsgi_source={app}")
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
    """Deploy to a new host three times, and record the second and the third deploy."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        inventory, app = Path(name, "sandbox.yml"), Path(name, "app")
        shutil.copytree(ROOT / "app", app)
        try:
            with hosts(1, inventory):
                deploy(inventory, app)
                for change in ("", "# New code.\n"):
                    with (app / "run.py").open("a") as code:
                        code.write(change)
                    folder = Path(name, f"ssh{len(change)}")
                    folder.mkdir()
                    (folder / "ssh").write_text(_SSH)
                    (folder / "ssh").chmod(0o755)
                    deploy(inventory, app, "-e", f"ansible_ssh_executable={folder / 'ssh'}")
                    found = {**answers(folder), **found}
        finally:
            sandbox("down", BUILD.partition(":")[0])
    recording.ANSWERS.write_text(json.dumps(recording.scrubbed(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
