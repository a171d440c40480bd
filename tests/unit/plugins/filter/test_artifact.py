"""The filters of the role artifact."""

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.filter.artifact import build_host, no_build_host

PLATFORM, PYTHON = "debian-13-x86_64-py3.11", "/opt/py/bin/python3.11"


def result(name: str, platform: str = PLATFORM, manager: str = "apt", **chosen: Any) -> dict[str, Any]:
    known = {"path": PYTHON, "full": "3.11.2", "headers": True, "problem": ""}
    found = system(name, platform)
    found["host"] |= {"package_manager": manager, "python": "3.11", "chosen": known | chosen}
    return found


def system(name: str, platform: str) -> dict[str, Any]:
    return {"item": name, "host": {"platform": platform, "interpreter": "/usr/bin/python3.11"}}


def test_the_first_host_of_the_platform_builds() -> None:
    hosts = [system("b1", "debian-12-x86_64-py3.11"), system("b2", PLATFORM), system("b3", PLATFORM)]
    assert build_host(hosts, PLATFORM, "") == "b2"
    assert build_host(hosts, "debian-11-x86_64-py3.9", "") == ""
    said = no_build_host(hosts[:2], "debian-11-x86_64-py3.9", "", "build", ["b1", "b2"])
    assert said.startswith(
        "artifact_build_group=build has no host that can build for platform debian-11-x86_64-py3.9 (b1: it is "
        f"debian-12-x86_64-py3.11; b2: it is {PLATFORM}). Add one to the group, or leave the group empty"
    )


def test_a_host_whose_modules_run_with_another_python_does_not_build_for_the_distribution_s() -> None:
    assert build_host([result("own")], PLATFORM, "") == ""
    said = no_build_host([result("own")], PLATFORM, "", "build", ["own"])
    assert f"(own: it would build with {PYTHON})" in said


def test_a_host_whose_modules_run_with_the_wanted_python_builds() -> None:
    assert build_host([system("b1", PLATFORM)], PLATFORM, "/usr/bin/python3.11") == "b1"


def test_without_a_group_the_application_host_is_the_one_that_lacks_something() -> None:
    assert no_build_host([result("web1", manager="dnf", headers=False)], PLATFORM, PYTHON, "build", []) == (
        f"no host can build for flask_uwsgi_python={PYTHON} on {PLATFORM} (web1: there are no headers (Python.h) for "
        "it: install those of this interpreter, such as package python3.11-devel). Install there what it lacks, or put "
        "a host that has it into the group build (artifact_build_group). Nothing was changed."
    )


def test_a_host_with_the_same_interpreter_builds() -> None:
    hosts = [
        result("absent", problem="does not exist on this host"),
        result("other", "debian-13-x86_64-py3.12"),
        result("link", path="/opt/py2/bin/python3.11"),
        result("bare", headers=False),
        system("system", "debian-13-x86_64-py3.13"),
    ]
    assert build_host(hosts, PLATFORM, PYTHON) == ""
    assert build_host([*hosts, result("good")], PLATFORM, PYTHON) == "good"
    said = no_build_host(hosts, PLATFORM, PYTHON, "build", ["absent"])
    assert said.startswith(f"artifact_build_group=build has no host that can build for flask_uwsgi_python={PYTHON} on ")
    for part in (
        f"absent: {PYTHON} does not exist on this host;",
        "other: it is debian-13-x86_64-py3.12;",
        "link: it would build with /opt/py2/bin/python3.11;",
        "bare: there are no headers (Python.h) for it: install those of this interpreter, such as package "
        "python3.11-dev;",
        "system: it is debian-13-x86_64-py3.13)",
        "Install the same interpreter there at the same path",
    ):
        assert part in said
