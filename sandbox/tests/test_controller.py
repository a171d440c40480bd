from pathlib import Path

import pytest

from sandbox import controller
from sandbox.controller import apt_settings, mirror_lines, pip_settings

DEBIAN = 'PRETTY_NAME="Debian"\nID=debian\nVERSION_CODENAME=bookworm\n'
TARGETS = """\
http://mirror.test/debian/ bookworm
http://mirror.test/debian/ bookworm-updates
http://security.test/debian-security/ bookworm-security
https://other.test/node nodistro
"""


def test_hosts_use_the_controllers_mirror_for_any_suite() -> None:
    assert mirror_lines("trixie", DEBIAN, TARGETS) == [
        "deb http://mirror.test/debian/ trixie main",
        "deb http://mirror.test/debian/ trixie-updates main",
        "deb http://security.test/debian-security/ trixie-security main",
    ]


def test_a_mirror_without_security_updates_is_used_unchanged() -> None:
    lines = mirror_lines("bookworm", DEBIAN, "http://mirror.test/debian/ bookworm\n")
    assert [line.split()[2] for line in lines] == ["bookworm", "bookworm-updates"]


def test_mmdebstrap_chooses_the_mirror_on_a_controller_that_is_not_debian() -> None:
    assert mirror_lines("bookworm", "ID=ubuntu\nVERSION_CODENAME=noble\n", "http://u.test/ubuntu noble\n") == []
    assert mirror_lines("bookworm", DEBIAN, "") == []


def test_a_host_accepts_the_lists_that_the_controller_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        'APT::Architecture "amd64";\nAcquire::Check-Valid-Until "false";\nAcquire::Check-Date "false";\n'
        'Acquire::Check-Valid-Until-Other "1";\nDir::Etc "etc/apt";\n'
    )
    monkeypatch.setattr(controller, "run", lambda command, what: said)
    assert apt_settings() == ['Acquire::Check-Valid-Until "false";', 'Acquire::Check-Date "false";']


def test_only_pip_settings_that_work_elsewhere_are_kept(tmp_path: Path) -> None:
    weak, strong = tmp_path / "weak.conf", tmp_path / "strong.conf"
    weak.write_text("[global]\nindex-url = https://weak.test/simple\ntimeout = 9\nfind-links = /opt/wheels\n")
    strong.write_text(
        "[global]\nindex-url = https://strong.test/simple\nconstraint = /etc/c.txt\ncert = /etc/ca.crt\n"
        "extra-index-url = file:///opt/simple\n    https://extra.test/simple\n"
        "[install]\ntrusted-host = strong.test\n[list]\nformat = json\n"
    )
    assert pip_settings([weak, tmp_path / "absent.conf", strong], {}) == {
        "cert": "/etc/ca.crt",
        "index-url": "https://strong.test/simple",
        "extra-index-url": "https://extra.test/simple",
        "trusted-host": "strong.test",
        "timeout": "9",
    }


def test_pips_environment_variables_take_precedence_and_an_index_on_disk_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\ncert = /etc/weak.crt\nindex-url = file:///opt/simple\n")
    environment = {"PIP_CERT": "/etc/strong.crt", "PIP_FIND_LINKS": "/opt/wheels", "PIP_DEFAULT_TIMEOUT": "180"}
    assert pip_settings([file], environment) == {"cert": "/etc/strong.crt", "default-timeout": "180"}
