"""What a host must be able to do, and what its operator is told."""

from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.capabilities import (
    TESTED,
    interpreter,
    notes,
    problems,
)

HOST = {
    "distribution": "debian",
    "version": "12",
    "systemd": True,
    "systemd_version": 252,
    "python": "3.11",
    "interpreter": "/usr/bin/python3",
    "package_manager": "apt",
    "libpython": True,
    "missing_packages": [],
}
NEW = {"distribution": "ubuntu", "version": "24.04", "systemd_version": 255, "python": "3.12"}


def host(**own: Any) -> dict[str, Any]:
    return {**HOST, **own}


def one(lines: Any, *words: str) -> None:
    found = list(lines)
    assert len(found) == 1, found
    assert not [word for word in words if word not in found[0]], found[0]


@pytest.mark.parametrize(("distribution", "version"), TESTED)
def test_a_tested_distribution_needs_no_word(distribution: str, version: str) -> None:
    tested = host(distribution=distribution, version=version)
    assert list(problems(tested, "refuse")) == notes(tested, secrets=True, builds=True) == []


def test_one_that_was_not_tested_is_deployed_to_with_a_line_about_it() -> None:
    assert list(problems(host(**NEW), "allow")) == []
    one(
        notes(host(**NEW), secrets=True, builds=True),
        "ubuntu 24.04 was not tested, and has what it takes (systemd 255, Python 3.12, apt)",
        "flask_uwsgi_untested=refuse",
    )


def test_the_strict_refuse_it_and_learn_what_was_tested() -> None:
    one(
        problems(host(**NEW), "refuse"),
        "flask_uwsgi_untested=refuse, and ansible_host runs ubuntu 24.04 (probed: systemd 255, Python 3.12, apt)",
        "set it to allow, or use one of debian 11, debian 12, debian 13, debian forky",
    )


@pytest.mark.parametrize("untested", ["allow", "refuse"])
@pytest.mark.parametrize(
    ("own", "probed", "lacks"),
    [
        ({"systemd_version": 246}, "systemd 246, Python 3.11, apt", "systemd 247 or newer"),
        ({"systemd_version": 0, "systemd": False}, "no systemd", "systemd as its first process, and systemd 247"),
        ({"systemd": False}, "systemd 252, not the first process, Python", "systemd as its first process:"),
        ({"python": "3.8"}, "Python 3.8", "Python 3.9 or newer (ansible_python_interpreter=/usr/bin/python3)"),
        (
            {"package_manager": "", "libpython": False, "missing_packages": ["libpq5"]},
            "no package manager",
            "apt or dnf to install libpq5 libpython3.1",
        ),
    ],
)
def test_what_is_missing_is_reported_with_what_was_probed(
    untested: str, own: dict[str, Any], probed: str, lacks: str
) -> None:
    for system in ({}, NEW):
        one(problems(host(**{**system, **own}), untested), "(probed: ", "which lacks ", lacks)
    one(problems(host(**own), untested), "(probed: ", probed, "docs/PLATFORMS.md")


@pytest.mark.parametrize(
    "own", [{"systemd_version": 247}, {"python": "3.9"}, {"python": "3.14"}, {"package_manager": "dnf"}]
)
def test_the_least_that_is_needed_is_enough(own: dict[str, Any]) -> None:
    assert list(problems(host(**own), "allow")) == []


def test_a_package_manager_is_needed_only_for_what_is_missing() -> None:
    assert list(problems(host(package_manager=""), "allow")) == []


def test_what_is_done_instead_of_what_an_older_systemd_lacks_is_said() -> None:
    one(notes(host(systemd_version=247), secrets=True, builds=False), "needs systemd 250, and it has 247", "only root")
    one(notes(host(systemd_version=247), secrets=False, builds=True), "without PrivateIPC, which needs systemd 248")
    one(notes(host(systemd_version=248), secrets=True, builds=True), "flask_uwsgi_secrets: not encrypted")
    assert notes(host(systemd_version=250), secrets=True, builds=True) == []
    assert notes(host(systemd_version=247), secrets=False, builds=False) == []


def test_an_interpreter_has_the_name_that_the_operator_gave_it() -> None:
    chosen = {"asked": "/opt/py/bin/python3"}
    assert interpreter("/opt/py/bin/python3", chosen) == "flask_uwsgi_python=/opt/py/bin/python3"
    assert interpreter("", chosen) == "ansible_python_interpreter=/opt/py/bin/python3"
