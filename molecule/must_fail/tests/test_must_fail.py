"""Bad input: one message names variable, value and remedy, and the running generation continues to serve."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.service import APP

BUILD_HOST = "mol-must-fail-build"
INVENTORY = os.environ["SANDBOX_INVENTORY"]

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("serving")]


@pytest.fixture
def planned(play: Any) -> Callable[[str], str]:
    """Return a function that shows the plan of a source, as one line with single spaces."""

    def check(source: str) -> str:
        done = play("deploy", "--check", "-e", json.dumps({"flask_uwsgi_source": source}))
        assert done.returncode == 0, done.stdout[-3000:]
        return " ".join(done.stdout.split())

    return check


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"mode": "threads", "flask_uwsgi_threads": 3000, "flask_uwsgi_processes": 500},
            "flask_uwsgi_processes=500 .* flask_uwsgi_threads=3000 needs .* lower one of them",
        ),
        pytest.param(
            {"flask_uwsgi_wsgi_file": "walk.py"},
            "flask_uwsgi_wsgi_file=walk.py does not exist in .* set it to the file",
            marks=pytest.mark.full,
        ),
        (
            {"flask_uwsgi_callable": "nobody"},
            "flask_uwsgi_callable=nobody of flask_uwsgi_wsgi_file=run.py: it has no nobody",
        ),
        ({"flask_uwsgi_extra_ini": {"processess": 4}}, "flask_uwsgi_extra_ini has the key processess, .* Correct or"),
        ({"flask_uwsgi_unit_overrides": {"NoSuch": 1}}, "flask_uwsgi_unit_overrides.*Unknown key.*NoSuch"),
        pytest.param(
            {"flask_uwsgi_health_path": "/nothing"},
            "GET /nothing answered 404 instead of 200",
            marks=pytest.mark.full,
        ),
        ({"ansible_port": 1}, r"ansible_host=\S+ cannot be reached over SSH .* Check that the host is up"),
        ({"ansible_user": "nosudo"}, r"ansible_user=nosudo on ansible_host=\S+ cannot become root: .* use sudo"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_bad_setting_is_refused_and_named(variables: dict[str, Any], said: str, run: Any) -> None:
    status, output = run(variables)
    assert status != 0
    assert re.search(said, output), output[-3000:]


@pytest.mark.parametrize(
    "wrong",
    [
        [
            ("mode", "geven", "flask_uwsgi_mode=geven is no mode: set it to gevent or threads"),
            (
                "flask_uwsgi_processes",
                "abc",
                "flask_uwsgi_processes=abc is not valid: set it to a whole number from 1 to",
            ),
            (
                "flask_uwsgi_port",
                70000,
                "flask_uwsgi_port=70000 is not valid: set it to a whole number from 1 to 65535",
            ),
            ("flask_uwsgi_source", "/nowhere", "flask_uwsgi_source=/nowhere is not a directory on the controller: set"),
            ("flask_uwsgi_extra_ini", {"threads": 4}, "flask_uwsgi_extra_ini has 'threads', which has a variable: set"),
        ],
        [
            ("flask_uwsgi_processes", 0, "flask_uwsgi_processes=0 is not valid: set it to a whole number from 1 to"),
            ("flask_uwsgi_port", 0, "flask_uwsgi_port=0 is not valid: set it to a whole number from 1 to 65535"),
            (
                "flask_uwsgi_environment",
                {"HOSTS": ["a", "b"]},
                "flask_uwsgi_environment has 'HOSTS', whose value is a list, and a variable is text: write it as",
            ),
        ],
        [
            ("flask_uwsgi_port", 22, r"flask_uwsgi_port=22 is taken by sshd \(pid \d+\): stop that program or choose"),
            (
                "flask_uwsgi_backlog",
                60000,
                r"flask_uwsgi_backlog=60000 is above net.core.somaxconn=\d+ .* lower it, or set",
            ),
            (
                "flask_uwsgi_gevent",
                90000,
                r"flask_uwsgi_gevent=90000 needs \d+ open files .* allows \d+: set it to \d+ or",
            ),
            ("flask_uwsgi_min_free_mb", 10**6, r"flask_uwsgi_base_dir=/opt has \d+ MB free, .* free space there or"),
        ],
    ],
    ids=["settings", "zeros", "host"],
)
def test_all_problems_are_reported_together(wrong: list[tuple[str, Any, str]], run: Any) -> None:
    status, output = run({name: value for name, value, _ in wrong})
    assert status != 0
    assert [said for _, _, said in wrong if not re.search(said, output)] == [], output[-3000:]
    assert "Nothing was changed." in output


def test_an_application_that_raises_on_import_is_refused_with_its_own_error(application: Any, run: Any) -> None:
    def broken(app: Path) -> None:
        with (app / "run.py").open("a") as source:
            source.write('\nraise RuntimeError("the data base is away")\n')

    status, output = run({"flask_uwsgi_source": application(broken)})
    assert status != 0
    assert "flask_uwsgi_wsgi_file=run.py raised while it was loaded: RuntimeError: the data base is away" in output
    assert re.search(r"Its last log lines:.*Traceback.*Generation [0-9a-f]{12} serves", output), output[-3000:]


def test_requirements_that_cannot_be_locked_are_refused(tmp_path: Path, run: Any) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("flask==99\n")
    status, output = run({"flask_uwsgi_requirements": str(requirements)})
    assert status != 0
    assert re.search(rf"flask_uwsgi_requirements={requirements} cannot be locked: correct .*flask==99", output)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"requirements.txt": "--index-url https://packages.example.org/simple\nflask\n"},
            "requirements.txt has '--index-url https://packages.example.org/simple' in line 1, which does not count "
            "here.* Set UV_INDEX",
        ),
        pytest.param(
            {"requirements.txt": "# -*- coding: klingon -*-\nflask\n"},
            "declares the encoding 'klingon'.* save it as UTF-8",
            marks=pytest.mark.full,
        ),
        (
            {"Pipfile": "[packages]\nflask = '*'\n"},
            "flask_uwsgi_source has Pipfile, which is not read, .* run `pipenv requirements --hash >requirements.txt`",
        ),
        pytest.param(
            {"environment.yml": "dependencies: [flask]\n"},
            "flask_uwsgi_source has environment.yml, which is not read, .* in a requirements.txt",
            marks=pytest.mark.full,
        ),
    ],
    ids=["index-url", "coding", "pipenv", "conda"],
)
def test_a_source_whose_requirements_cannot_be_read_is_refused(
    application: Any, run: Any, files: dict[str, str], said: str
) -> None:
    def change(app: Path) -> None:
        (app / "requirements.txt").unlink()
        for name, text in files.items():
            (app / name).write_text(text)

    status, output = run({"flask_uwsgi_source": application(change)})
    assert status != 0
    assert re.search(said, output), output[-3000:]
    assert "Nothing was changed." in output


def test_requirements_in_utf16_are_read_as_pip_reads_them(application: Any, planned: Any) -> None:
    def encoded(app: Path) -> None:
        path = app / "requirements.txt"
        path.write_text(path.read_text(), encoding="utf-16")

    # The same lock, whose wheels exist.
    assert "wheels on the host" in planned(application(encoded))


def test_files_that_are_left_out_of_a_release_are_listed_in_the_plan(application: Any, planned: Any) -> None:
    def change(app: Path) -> None:
        with (app / "requirements.txt").open("a") as lock:
            lock.write(f"gevent==24.2.1 --hash=sha256:{'1' * 64}\n")
        (app / "tests").mkdir()
        (app / "tests/helpers.py").touch()
        with (app / "run.py").open("a") as source:
            source.write("\n\ndef later():\n    import tests.helpers\n")

    plan = planned(application(change))
    assert re.search(
        r"gevent \S+ of artifact_server_lock is installed, although the requirements say gevent==24\.2\.1", plan
    )
    assert re.search(r"artifact_exclude has 'tests', which leaves out tests, and line \d+ of run\.py imports", plan)


def test_a_ref_that_the_repository_does_not_have_is_refused(tmp_path: Path, run: Any) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    status, output = run({"flask_uwsgi_source": f"git+{tmp_path.as_uri()}@no-such-branch"})
    assert status != 0
    assert "@no-such-branch has no 'no-such-branch': set the part after the @ to a branch, a tag or a commit" in output


@pytest.mark.full
def test_a_wrong_hash_is_refused_by_the_build(tmp_path: Path, run: Any) -> None:
    lock = tmp_path / "requirements.txt"
    wrong = re.sub(r"(markupsafe==\S+ .*?)(?=\n\S)", lambda entry: re.sub("[0-9a-f]{64}", "0" * 64, entry[1]),
                   (ROOT / "app/requirements.txt").read_text(), count=1, flags=re.DOTALL)  # fmt: skip
    lock.write_text(wrong)
    status, output = run({"flask_uwsgi_requirements": str(lock)})
    assert status != 0
    assert re.search(
        rf"markupsafe==\S+, of flask_uwsgi_requirements={lock}, has a hash that the package does not have",
        output,
    ), output[-3000:]


@pytest.mark.full
def test_a_wheel_that_cannot_be_built_names_the_package_that_the_build_host_lacks(tmp_path: Path, run: Any) -> None:
    requirements = tmp_path / "requirements.txt"
    # It has no wheel for Linux.
    requirements.write_text("psycopg2==2.9.9\n")
    status, output = run({"flask_uwsgi_requirements": str(requirements)})
    assert status != 0
    assert re.search(
        rf"psycopg2==2.9.9, of flask_uwsgi_requirements={requirements}, cannot be built on {BUILD_HOST}, which lacks a "
        "Debian package. Add libpq-dev to flask_uwsgi_build_packages: .*Error: pg_config executable not found",
        output,
    ), output[-3000:]


def test_an_unreachable_registry_is_named(tmp_path: Path, host: Any, run: Any) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text((ROOT / "app/requirements.txt").read_text() + f"wheel==0.48.0 --hash=sha256:{'1' * 64}\n")
    build = host.get_host(f"ansible://{BUILD_HOST}", ansible_inventory=INVENTORY, sudo=True)
    dead = "[global]\\nindex-url = http://127.0.0.1:9\\nretries = 0\\n"
    build.check_output(f"cp -a /etc/pip.conf /etc/pip.conf.good; printf '{dead}' > /etc/pip.conf")
    try:
        status, output = run({"flask_uwsgi_requirements": str(lock)})
    finally:
        build.check_output("mv /etc/pip.conf.good /etc/pip.conf")
    assert status != 0
    assert re.search(rf"registry cannot be reached from {BUILD_HOST}.*{lock}.*Check network", output), output[-3000:]


# Answers a request with a byte a second, which no time-out between two bytes ends.
SLOW_MIRROR = """
import http.server, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '100000')
        self.end_headers()
        while True:
            self.wfile.write(b'x')
            self.wfile.flush()
            time.sleep(1)
http.server.ThreadingHTTPServer(('127.0.0.1', 8099), Slow).serve_forever()
"""


def test_a_package_mirror_that_never_ends_its_answer_does_not_hold_the_deploy(host: Any, run: Any) -> None:
    sources = "/etc/apt/sources.list"
    host.check_output("systemd-run --unit=slow-mirror python3 -c %s", SLOW_MIRROR)
    host.check_output(f"mv {sources} /tmp/ && echo 'deb http://127.0.0.1:8099/debian bookworm main' > {sources}")
    try:
        status, output = run({"flask_uwsgi_packages": ["sl"], "packages_update_seconds": 2})
    finally:
        host.check_output(f"mv /tmp/sources.list {sources}; systemctl stop slow-mirror")
    assert status != 0
    assert (
        "flask_uwsgi_packages=sl cannot be installed: apt-get was ended after packages_update_seconds=2, because the "
        "package mirror had not sent everything by then. Set it to packages of debian 12, and check that its package "
        "manager works there. The running service was not changed."
    ) in output
    assert host.run("pgrep --exact apt-get").rc == 1
    # It left no lock.
    host.check_output("apt-get update")


@pytest.mark.parametrize(
    ("untested", "problem"),
    [
        (
            "refuse",
            "flask_uwsgi_untested=refuse, and ansible_host runs slackware 12 (probed: systemd 252, Python 3.11, apt), "
            "which was not tested: set it to allow, or use one of debian 11, debian 12, debian 13, debian forky",
        ),
        # It has what it takes, but nothing that builds for it.
        ("allow", "artifact_build_group=build has no host that can build for platform slackware-12-x86_64-py3.11"),
    ],
)
def test_a_distribution_that_was_not_tested_is_refused_if_asked(
    host: Any, run: Any, untested: str, problem: str
) -> None:
    host.check_output("cp /etc/os-release /tmp/ && sed s/^ID=.*/ID=slackware/ /tmp/os-release > /etc/os-release")
    try:
        status, output = run({"flask_uwsgi_untested": untested})
    finally:
        host.check_output("cat /tmp/os-release > /etc/os-release")
    assert status != 0
    assert problem in output


def test_a_damaged_artifact_is_refused(tmp_path: Path, run: Any) -> None:
    cache = tmp_path / "cache"
    assert run({"artifact_cache": str(cache)})[0] == 0
    archive = next(cache.glob("code-*.tar.gz"))
    archive.write_bytes(archive.read_bytes()[:-10] + b"0123456789")
    status, output = run({"artifact_cache": str(cache)})
    assert status != 0
    assert f"artifact {archive} is damaged" in output
    assert f"Remove it (`rm {archive}*`) and deploy again" in output


def test_a_full_disk_is_reported_and_a_deploy_after_it_succeeds(application: Any, host: Any, run: Any) -> None:
    source = application(lambda app: (app / "large.txt").write_bytes(bytes(4 * 2**20)))
    releases = host.check_output(f"ls -A /opt/{APP}/releases")
    available = int(host.check_output("df --output=avail -B1 /opt | tail -n 1"))
    host.check_output(f"fallocate -l {available - 2 * 2**20} /opt/filler")
    try:
        status, output = run({"flask_uwsgi_source": source, "flask_uwsgi_min_free_mb": 0})
    finally:
        host.check_output("rm /opt/filler")
    assert status != 0
    assert re.search("disk full while unpacking release .* flask_uwsgi_base_dir=/opt: .* Free space", output), output
    assert host.check_output(f"ls -A /opt/{APP}/releases") == releases
    status, output = run({})
    assert status == 0 and "nothing to do" in output
