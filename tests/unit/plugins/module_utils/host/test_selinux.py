import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import selinux

Host = Callable[..., Path]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Give this host a file system of SELinux, or none, and programs that note how they were called."""

    def have(enforce: str | None, **programs: str) -> Path:
        monkeypatch.setattr(selinux, "_ROOT", tmp_path / "selinux")
        if enforce is not None:
            (tmp_path / "selinux").mkdir(exist_ok=True)
            (tmp_path / "selinux/enforce").write_text(enforce)
        (tmp_path / "bin").mkdir(exist_ok=True)
        for name, text in programs.items():
            program = tmp_path / "bin" / name
            program.write_text(f'#!/bin/sh\necho "{name} $@" >>"{tmp_path}/calls"\n{text}\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        return tmp_path / "calls"

    return have


@pytest.mark.parametrize(("enforce", "mode"), [("1", "enforcing"), ("0", "permissive"), (None, "disabled")])
def test_the_mode_is_the_kernel_s(host: Host, enforce: str | None, mode: str) -> None:
    host(enforce)
    assert selinux.mode() == mode


def test_a_container_has_none(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host("1")
    real = os.statvfs(selinux._ROOT)
    monkeypatch.setattr(os, "statvfs", lambda path: type("Read", (), {"f_flag": real.f_flag | os.ST_RDONLY}))
    assert selinux.mode() == "disabled"


def test_the_policy_is_asked_for_the_type_of_a_program(host: Host) -> None:
    calls = host("1", matchpathcon="echo system_u:object_r:bin_t:s0")
    assert selinux.program_type(Path("/opt/shop/venvs")) == "bin_t"
    assert calls.read_text() == "matchpathcon -n /opt/shop/venvs/x/bin/x\n"


@pytest.mark.parametrize(
    ("enforce", "text"),
    [("0", "echo u:r:var_t:s0"), (None, "echo u:r:var_t:s0"), ("1", "exit 1"), ("1", "echo '<<none>>'")],
)
def test_what_nobody_enforces_or_knows_does_not_matter(host: Host, enforce: str | None, text: str) -> None:
    host(enforce, matchpathcon=text)
    assert selinux.program_type(Path("/srv/shop/venvs")) == ""


def test_a_directory_whose_programs_systemd_may_not_start_is_a_problem() -> None:
    assert selinux.problem("bin_t", "/opt") == selinux.problem("", "/srv") == ""
    assert selinux.problem("var_t", "/srv/apps") == (
        "flask_uwsgi_base_dir=/srv/apps is a directory whose programs SELinux labels var_t, which systemd may not "
        "start: set it to a directory below /opt, or run `semanage fcontext -a -e /opt /srv/apps` on the host"
    )


@pytest.mark.parametrize("enforce", ["0", "1"])
def test_the_labels_of_the_policy_are_set(host: Host, enforce: str) -> None:
    calls = host(enforce, restorecon="")
    selinux.relabel(Path("/opt/shop/venvs/v1"))
    assert calls.read_text() == "restorecon -R -F /opt/shop/venvs/v1\n"


def test_nothing_is_labelled_without_selinux(host: Host) -> None:
    calls = host(None, restorecon="exit 1")
    selinux.relabel(Path("/opt/shop/venvs/v1"))
    assert not calls.exists()


def test_labels_that_cannot_be_set_are_reported(host: Host) -> None:
    host("1")
    with pytest.raises(selinux.SELinuxError, match=r"`restorecon -R -F /x` cannot be run: .*No such file"):
        selinux.relabel(Path("/x"))
    host("1", restorecon="echo 'restorecon: Operation not supported' >&2; exit 255")
    with pytest.raises(
        selinux.SELinuxError, match=r"`restorecon -R -F /x` failed: restorecon: Operation not supported$"
    ):
        selinux.relabel(Path("/x"))
