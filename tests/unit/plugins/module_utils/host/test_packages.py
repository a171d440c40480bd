import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages

STATUS = """\
Package: gcc
Status: install ok installed
Version: 4:12.2.0-3
Provides: c-compiler, gcc-x86-64-linux-gnu (= 4:12.2.0-3)

Package: libpq5
Architecture: amd64
Status: deinstall ok config-files

Package: pkgconf
Status: install ok installed
Description: with a line such as
 Status: install ok half-installed
Provides: pkg-config (= 1.8.1-1)

Package: python3-dev
Status: install ok half-installed
"""
DPKG = """\
Package: libpq5
Status: install ok installed
Priority: optional
Description: client library
 Package: mentioned
 Status: install ok installed

Package: removed
Status: deinstall ok config-files

Package: half
Essential: no
Status: install ok half-configured

Package: g++
Essential: no
Status: hold ok installed
"""
# What `rpm --query --all` prints for each format.
RPM = """#!/bin/sh
[ "$1 $2 $3" = "--query --all --queryformat" ] || exit 9
case $4 in
    *PROVIDENAME*) printf '%s\\n' gcc 'gcc(x86-64)' python3-libs 'libpython3.9.so.1.0()(64bit)' python3-PyYAML ;;
    *NEVRA*) cat "$RPMS" ;;
esac
"""
Having = Callable[..., Path]


@pytest.fixture
def having(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Having:
    """Make programs the only ones that this host has, and return their folder."""
    monkeypatch.setattr(packages, "DPKG", tmp_path / "status")
    (tmp_path / "status").write_text(STATUS)
    monkeypatch.setenv("RPMS", str(tmp_path / "rpms"))
    (tmp_path / "rpms").write_text("gcc-11.4.1-3.el9.x86_64 1\nzlib-1.2.11-40.el9.x86_64 2\n")
    folder = tmp_path / "bin"
    folder.mkdir()

    def have(**programs: str) -> Path:
        for name, text in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(text)
            program.chmod(0o755)
        (folder / "cat").symlink_to("/bin/cat")
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return have


def test_the_package_manager_is_the_one_whose_program_is_there(having: Having) -> None:
    folder = having()
    assert packages.manager() == ""
    for name, expected in (("dnf", "dnf"), ("apt-get", "apt")):
        (folder / name).touch(0o755)
        assert packages.manager() == expected


def test_the_version_of_dnf_shows_in_its_program(having: Having) -> None:
    folder = having()
    assert packages.dnf_backend() == ""
    for name, expected in (("dnf-3", "dnf4"), ("dnf5", "dnf5")):
        (folder / name).touch(0o755)
        (folder / "dnf").unlink(missing_ok=True)
        (folder / "dnf").symlink_to(name)
        assert packages.dnf_backend() == expected


def test_what_dpkg_has_not_installed_is_missing(having: Having) -> None:
    having(apt_get="")
    # pkg-config is what pkgconf has replaced; c-compiler is what several can be.
    assert packages.missing(["gcc", "libpq5", "python3-dev", "pkgconf", "pkg-config", "c-compiler"]) == [
        "c-compiler", "libpq5", "python3-dev",
    ]  # fmt: skip
    assert packages.present(["pkg-config", "libpq5", "gcc", "c-compiler"]) == ["pkg-config", "gcc", "c-compiler"]
    assert packages.missing([]) == []
    packages.DPKG.unlink()
    assert packages.missing(["gcc"]) == ["gcc"] and packages.present(["gcc"]) == []


def test_dpkg_s_list_is_read_field_by_field(having: Having) -> None:
    having(apt_get="")
    wanted = ["removed", "libpq5", "g++", "half", "mentioned", "libpq"]
    packages.DPKG.write_text(DPKG)
    assert packages.missing(wanted) == ["half", "libpq", "mentioned", "removed"]


def test_what_no_rpm_provides_is_missing(having: Having) -> None:
    having(dnf="", rpm=RPM)
    wanted = [
        "gcc",
        "python3-PyYAML",
        "python3-pyyaml",
        "libpq",
        packages.libpython("dnf", "3.9"),
        "pkgconfig(python-3.9)",
    ]
    assert packages.missing(wanted) == ["libpq", "pkgconfig(python-3.9)", "python3-pyyaml"]
    assert packages.present(wanted) == ["gcc", "python3-PyYAML", "libpython3.9.so.1.0()(64bit)"]


def test_without_an_answer_of_rpm_everything_is_missing(having: Having) -> None:
    folder = having(dnf="")
    assert packages.missing(["gcc"]) == ["gcc"]
    (folder / "rpm").write_text("#!/bin/sh\necho 'error: rpmdb open failed' >&2; exit 1\n")
    (folder / "rpm").chmod(0o755)
    assert packages.missing(["gcc"]) == ["gcc"]


@pytest.mark.parametrize(("programs", "list_"), [({"apt_get": ""}, "status"), ({"dnf": "", "rpm": RPM}, "rpms")])
def test_every_change_of_a_package_has_another_fingerprint(
    having: Having, tmp_path: Path, programs: dict[str, str], list_: str
) -> None:
    having(**programs)
    before, file = packages.fingerprint(), tmp_path / list_
    assert packages.fingerprint() == before
    if list_ == "rpms":
        # rpm's order is that of installation.
        file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
        assert packages.fingerprint() == before
    file.write_text(re.sub(r"12\.2\.0-3|11\.4\.1-3", "99", file.read_text()))
    assert packages.fingerprint() != before


@pytest.mark.parametrize(
    ("manager", "good", "bad"),
    [
        ("apt", ["libpq5", "g++", "libstdc++6", "python3.11"], ["LibPQ", "python3_x", "a", "-y", "libpq5=1.2", ""]),
        ("dnf", ["python3-PyYAML", "perl_x", "gcc-c++", "R", "unixODBC-devel"], ["-y", "@web", "x*", "x y", "x\n", ""]),
    ],
)
def test_each_family_has_its_names(manager: str, good: list[str], bad: list[str]) -> None:
    name = packages.FAMILIES[manager].name
    assert all(map(name.fullmatch, good))
    assert not any(map(name.fullmatch, bad))


def test_each_family_has_its_names_of_what_is_needed() -> None:
    assert packages.libpython("apt", "3.11") == packages.libpython("", "3.11") == "libpython3.11"
    assert packages.libpython("dnf", "3.12") == "libpython3.12.so.1.0()(64bit)"
    built = packages.build_packages("apt", "3.11")
    assert built == ["gcc", "libc6-dev", "libcrypt-dev", "patch", "python3-dev", "python3-venv"]
    assert packages.build_packages("dnf", "3.12") == ["gcc", "patch", "pkgconfig(python-3.12)"]
    assert packages.build_packages("apt", "") == built
    assert packages.build_packages("dnf", "") == ["gcc", "patch"]
    assert [packages.headers(name, "3.12") for name in ("apt", "dnf")] == ["python3.12-dev", "python3.12-devel"]


def test_a_program_s_installation_is_that_of_the_host(having: Having) -> None:
    folder = having()
    assert packages.how_to_install("ab") == "apt install apache2-utils or dnf install httpd-tools"
    (folder / "dnf").touch(0o755)
    assert packages.how_to_install("ab") == "dnf install httpd-tools"
    assert packages.how_to_install("wrk") == "its distribution has no package of it"
    (folder / "apt-get").touch(0o755)
    assert packages.how_to_install("wrk") == "apt install wrk"
