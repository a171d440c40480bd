"""The filters of the role artifact."""

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.filter.artifact import build_host, no_build_host

PLATFORM, PYTHON = "debian-13-x86_64-py3.11", "/opt/py/bin/python3.11"


def result(name: str, platform: str = PLATFORM, **chosen: Any) -> dict[str, Any]:
    known = {"path": PYTHON, "full": "3.11.2", "headers": True, "problem": ""}
    return {"item": name, "host": {"platform": platform, "interpreter": "/usr/bin/python3", "chosen": known | chosen}}


def system(name: str, platform: str) -> dict[str, Any]:
    return {"item": name, "host": {"platform": platform, "interpreter": "/usr/bin/python3"}}


def test_the_first_host_of_the_platform_builds() -> None:
    hosts = [system("b1", "debian-12-x86_64-py3.11"), system("b2", PLATFORM), system("b3", PLATFORM)]
    assert build_host(hosts, PLATFORM, "") == "b2"
    assert build_host(hosts, "debian-11-x86_64-py3.9", "") == ""
    said = no_build_host(hosts, "debian-11-x86_64-py3.9", "", "build")
    assert said.startswith(
        "artifact_build_group=build has no host of platform debian-11-x86_64-py3.9 (there are: "
        f"debian-12-x86_64-py3.11, {PLATFORM}, {PLATFORM}). Add one to the group, or leave the group empty"
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
    said = no_build_host(hosts, PLATFORM, PYTHON, "build")
    assert said.startswith(f"artifact_build_group=build has no host that can build for flask_uwsgi_python={PYTHON} on ")
    for part in (
        "absent: it does not exist on this host;",
        "other: it is debian-13-x86_64-py3.12;",
        "link: it is a link to /opt/py2/bin/python3.11;",
        "bare: it has no headers (Python.h)",
        "system: it is debian-13-x86_64-py3.13)",
        "Install the same interpreter there at the same path",
    ):
        assert part in said
