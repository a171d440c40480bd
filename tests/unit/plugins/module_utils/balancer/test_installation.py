"""The commands of a balancer run without Ansible, with all the modules that they import."""

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import installation
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.installation import Directory, File


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The installed program."""
    folder = tmp_path / "program"
    for one in installation.program(folder):
        one.make()
    return folder


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("keep", "HAProxy does not answer at /nosuch: No such file or directory. Start it with"),
        ("alive", "HAProxy does not answer at /nosuch: No such file or directory. Start it with"),
        ("dance", "dance is no command"),
    ],
)
def test_a_command_that_fails_says_why(program: Path, command: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", program, command, "/nosuch", "/nosuch", program], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_balancer_without_certificates_of_an_authority_has_nothing_to_renew(program: Path) -> None:
    done = subprocess.run([sys.executable, "-I", program, "renew", "/nosuch", "/nosuch", program, "/nosuch"])
    assert done.returncode == 0


def test_what_is_installed_is_written_once(program: Path) -> None:
    assert not [one for one in installation.program(program) if one.differs]
    assert {path.stat().st_mode & 0o777 for path in program.rglob("*.py")} == {0o644}
    (program / "utils" / "balancer" / "runtime.py").write_text("")
    (changed,) = [one.path for one in installation.program(program) if one.differs]
    assert changed == program / "utils" / "balancer" / "runtime.py"


def test_a_directory_gets_its_permissions_back(tmp_path: Path) -> None:
    kept = Directory(tmp_path / "kept", 0o700)
    assert kept.differs
    kept.make()
    assert not kept.differs
    kept.path.chmod(0o755)
    assert kept.differs
    kept.make()
    assert kept.path.stat().st_mode & 0o777 == 0o700


def test_what_outlasts_a_run_keeps_its_content(tmp_path: Path) -> None:
    once = File(tmp_path / "map", "", once=True)
    assert once.differs
    once.make()
    once.path.write_text("site_1 on\n")
    assert not once.differs
    once.path.chmod(0o600)
    assert once.differs
    once.make()
    assert once.path.read_text() == "site_1 on\n" and not once.differs


def test_only_what_is_needed_is_installed() -> None:
    assert "utils/balancer/records.py" not in installation.texts()
    assert {"utils/balancer/renewal.py", "utils/host/files.py"} < installation.texts().keys()
