import pytest
from ansible_collections.flaskops.uwsgi.plugins.filter.packages import FilterModule


@pytest.mark.parametrize(
    ("manager", "platform", "python"),
    [
        ("apt", "debian-12-x86_64-py3.11", "python3-dev"),
        ("", "debian-12-x86_64-py3.11", "python3-dev"),
        ("dnf", "rhel-9.4-aarch64-py3.9", "pkgconfig(python-3.9)"),
        ("dnf", "rhel-9.4-x86_64-py3.12", "pkgconfig(python-3.12)"),
    ],
)
def test_the_build_packages_are_those_of_the_build_host(manager: str, platform: str, python: str) -> None:
    found = FilterModule().filters()["build_packages"](manager, platform)
    assert python in found and "gcc" in found


def test_headers_of_an_interpreter_that_was_chosen_are_no_package() -> None:
    build_packages = FilterModule().filters()["build_packages"]
    assert build_packages("dnf", "rhel-9.4-x86_64-py3.13", "/opt/python/bin/python3.13") == ["gcc", "patch"]
