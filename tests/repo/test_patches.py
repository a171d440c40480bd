import re

import yaml

from tests.support import ROOT

ROLES = ROOT / "roles"
PATCHES = ROLES / "artifact" / "files" / "patches"


def test_the_installed_server_is_the_patched_one() -> None:
    pins = re.findall(r"^([\w-]+)==(\S+)", (ROLES / "artifact" / "files" / "server.in").read_text(), re.M)
    patched = {path.name for path in PATCHES.iterdir() if path.is_dir()}
    assert patched == {f"{name}-{version}" for name, version in pins if name == "uwsgi"}


def test_each_patch_has_a_unique_number_and_a_purpose() -> None:
    for folder in (path for path in PATCHES.iterdir() if path.is_dir()):
        patches = sorted(folder.glob("*.patch"))
        assert [path.name[:3] for path in patches] == [f"{number:02}-" for number in range(1, len(patches) + 1)]
        assert set(folder.iterdir()) == set(patches)
        for path in patches:
            head, _, change = path.read_text().partition("\n--- a/")
            assert re.match(r"[A-Z].+\.\n\n[A-Za-z]", head), path
            assert change, path


def test_options_of_the_patches_are_set() -> None:
    added = "\n".join(path.read_text() for path in PATCHES.glob("uwsgi-*/*.patch"))
    options = re.findall(r'^\+\t\{"([a-z-]+)", required_argument', added, re.M)
    ini = (ROLES / "flask_uwsgi" / "templates" / "uwsgi.ini.j2").read_text()
    assert options
    for option in options:
        assert re.search(rf"^{option} = ", ini, re.M), option


def test_the_request_log_contains_no_query_by_default() -> None:
    defaults = yaml.safe_load((ROLES / "flask_uwsgi" / "defaults" / "main.yml").read_text())
    assert set(re.findall(r"%\((\w+)\)", defaults["flask_uwsgi_log_format"])) == {
        *("addr", "method", "path", "proto", "status", "rsize", "msecs", "wid")
    }
