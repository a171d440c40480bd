"""Applications of other kinds than the page's; an operation on one never affects another."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.witness import Witness

pytestmark = pytest.mark.timeout(300)

# Waits in C, where gevent cannot switch.
BLOCKS = """
import ctypes

made = create_app


def create_app():
    app = made()

    @app.get("/slow")
    def slow():
        ctypes.CDLL(None).usleep(200_000)
        return "done"

    return app
"""
OTHERS = {"httpbin": (8041, "/get"), "notes": (8042, "/")}


@contextmanager
def undisturbed(site: Any, *apps: str) -> Iterator[None]:
    """Assert that applications keep their processes and answer every request meanwhile."""
    before = {app: site.processes(app) for app in apps}
    with ExitStack() as stack:
        windows = []
        for app in apps:
            port, path = OTHERS[app]
            url = f"http://{site.address}:{port}"
            witness = stack.enter_context(Witness(url, clients=2, path=path, method="GET"))
            windows.append(stack.enter_context(witness.window(f"beside {app}", steady=0.5)))
        yield
    reports = [window.report() for window in windows]
    assert [report.failures for report in reports] == [{}] * len(reports)
    assert all(report.requests > 10 for report in reports)
    assert {app: site.processes(app) for app in apps} == before


@pytest.fixture(scope="module")
def more(site: Any) -> Iterator[Any]:
    """Add two applications to the inventory: a wheel below a mount point, and a WSGI function in a git repository."""
    source = site.folder / "greeter"
    done = subprocess.run(["uv", "build", "--wheel", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "dist").glob("*.whl")
    plain_source = site.folder / "plain"
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(["git", *command], cwd=plain_source, check=True)
    site.write("inventory/mine/hosts.yml", "layers: {app: [httpbin, notes, greeter, plain]}")
    greeter = {
        "flask_uwsgi_source": str(wheel),
        "flask_uwsgi_module": "greeter:app",
        "flask_uwsgi_mount": "/greeter",
        "flask_uwsgi_port": 8043,
        "flask_uwsgi_mode": "gevent",
    }
    plain = {
        "flask_uwsgi_source": f"git+{plain_source.as_uri()}@v1",
        "flask_uwsgi_wsgi_file": "wsgi.py",
        "flask_uwsgi_callable": "application",
        "flask_uwsgi_python_path": ["lib"],
        "flask_uwsgi_port": 8044,
        "flask_uwsgi_health_path": "",
        "flask_uwsgi_mode": "threads",
        "flask_uwsgi_post_activate": ["echo served > $STATE_DIRECTORY/after"],
    }
    site.write("inventory/mine/group_vars/greeter.yml", yaml.safe_dump(greeter))
    site.write("inventory/mine/group_vars/plain.yml", yaml.safe_dump(plain))
    yield site


def test_a_wheel_is_deployed_below_a_mount_point(more: Any) -> None:
    more.deployed("greeter")
    greeting = more.get(8043, "/greeter/hello/you").json()
    assert greeting == {"hello": "you", "here": "/greeter/hello/you"}
    assert more.get(8043, "/hello/you").status_code == 404
    assert more.get(8043, "/greeterx/hello/you").status_code == 404
    lock = more.root("cat /opt/greeter/current/release/requirements.lock")
    assert re.search(r"^flask==3\.\S+.*--hash=sha256:", lock.replace("\\\n", " "), flags=re.M), lock


def test_a_wsgi_function_without_a_page_for_its_health_is_deployed(more: Any) -> None:
    more.deployed("plain")
    answer = more.get(8044, "/a/path")
    assert (answer.status_code, answer.text) == (200, "/a/path")
    assert more.root("cat /var/lib/plain/after") == "served"
    commit = subprocess.check_output(["git", "rev-parse", "v1"], cwd=more.folder / "plain", text=True).strip()
    assert json.loads(more.root("cat /opt/plain/current/manifest.json"))["source"]["commit"] == commit


def test_a_deploy_of_one_application_does_not_affect_the_others(more: Any) -> None:
    before = more.generation("greeter")
    with undisturbed(more, "httpbin", "notes"):
        more.deployed("greeter", flask_uwsgi_environment={"COLOUR": "blue"})
    assert more.generation("greeter") != before


def test_each_application_has_an_account_and_limits_of_its_own(more: Any) -> None:
    for app in ("httpbin", "notes", "greeter", "plain"):
        generation = more.generation(app)
        unit = f"{app}@{generation}.service"
        shown = more.root(f"systemctl show {unit} --property=User --property=TasksMax --property=RuntimeDirectory")
        assert f"User={app}\n" in f"{shown}\n"
        assert f"RuntimeDirectory={app}/{generation}\n" in f"{shown}\n"
        assert "TasksMax=infinity" not in shown
        # An account cannot read another application's configuration.
        # find complains about directories that it may not enter, which is expected.
        readable = f"cd / && runuser -u {app} -- find /opt -name uwsgi.ini -readable 2>/dev/null || true"
        assert {path.split("/")[2] for path in more.root(readable).splitlines()} == {app}


def test_static_files_are_served_without_the_application_and_nothing_beside_them(site: Any) -> None:
    assert site.get(8042, "/static/style.css").headers["Content-Type"] == "text/css"
    for path in (
        "/static/../__init__.py",
        "/static/%2e%2e/__init__.py",
        "/static/..%2f__init__.py",
        "/static//etc/passwd",
    ):
        # Not with requests, which would normalize the path.
        connection = http.client.HTTPConnection(site.address, 8042, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        # werkzeug turns two slashes into one, with a redirect.
        assert answer.status in (404, 308), (path, body)
        assert "Flask" not in body and "root:" not in body, path


def test_a_migration_runs_once_per_deploy_and_not_when_nothing_changes(site: Any) -> None:
    log = "cat /var/lib/notes/migrations.log"
    before = site.root(log).splitlines()
    assert "nothing to do" in site.deployed("notes")
    assert site.root(log).splitlines() == before
    site.deployed("notes", flask_uwsgi_environment={"COLOUR": "blue"})
    assert len(site.root(log).splitlines()) == len(before) + 1


@pytest.mark.full
def test_auto_chooses_threads_where_gevent_fails_and_keeps_the_choice(site: Any) -> None:
    copy = site.folder / "blocks"
    shutil.copytree(site.folder / "notes", copy)
    appended(BLOCKS)(copy / "notes/__init__.py")
    variables = {"flask_uwsgi_source": str(copy), "flask_uwsgi_gevent_check_path": "/slow"}
    with undisturbed(site, "httpbin"):
        output = site.deployed("notes", **variables)
    assert "auto is threads, 500 a worker (flask_uwsgi_threads): " in output
    found = re.findall(r"cooperation.{0,400}", output)
    assert "notes/__init__.py" in output and "slow" in output, found
    manifest = json.loads(site.root("cat /opt/notes/current/manifest.json"))
    assert (manifest["mode"], manifest["cores"], manifest["decision"]["mode"]) == ("threads", 500, "threads")
    assert "nothing to do" in site.deployed("notes", **variables)


@pytest.mark.full
def test_the_check_alone_changes_nothing(more: Any) -> None:
    look = "ls /opt/plain/* /etc/systemd/system | sort"
    before = more.root(look)
    status, output = more.shell("ansible-playbook playbooks/check_gevent.yml --limit plain")
    assert status == 0, output[-3000:]
    assert re.search(r"gevent mode of generation \w{12}: ok", output)
    assert more.root(look) == before
    report = json.loads((more.clone / f"reports/gevent/plain_{more.address}.json").read_text())
    assert report["verdict"] == "ok"


@pytest.fixture
def refused(site: Any) -> Callable[..., str]:
    """Return a function that tries to deploy the notes; the deploy must fail and affect nothing."""

    def attempt(change: Callable[[Path], object] = lambda _: None, **variables: Any) -> str:
        copy = site.folder / "spoiled"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(site.folder / "notes", copy)
        change(copy / "notes/__init__.py")
        generations = site.root("ls /opt/notes/generations /opt/notes/releases")
        with undisturbed(site, "notes"):
            status, output = site.deploy("notes", flask_uwsgi_source=str(copy), **variables)
        assert status != 0
        assert site.root("ls /opt/notes/generations /opt/notes/releases") == generations
        assert site.root("systemctl list-units --failed --plain --no-legend 'notes*'") == ""
        assert site.root("ls -d /etc/systemd/system/notes-p*@* 2>/dev/null || true") == ""
        return str(output)

    return attempt


def appended(code: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(file.read_text() + f"\n\n{code}\n")


@pytest.mark.parametrize(
    ("code", "variables", "message"),
    [
        pytest.param(
            "number = 3",
            {"flask_uwsgi_module": "notes:number"},
            "flask_uwsgi_module=notes:number is int, which cannot be called. Name the WSGI application",
            id="not callable",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "def make(settings):\n    return create_app()",
            {"flask_uwsgi_module": "notes:make()"},
            "flask_uwsgi_module=notes:make(): make() missing 1 required positional argument: 'settings'. "
            "Name a factory, and its arguments as literals",
            id="factory with arguments",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "",
            {"flask_uwsgi_module": "notes:site"},
            "flask_uwsgi_module=notes:site: it has no site. Name one that it has",
            id="no such name",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "made = create_app\n\n\ndef create_app():\n    app = made()\n"
            "    app.before_request(lambda: redirect('/login') if request.path == '/healthz' else None)\n"
            "    return app",
            {"flask_uwsgi_health_timeout": 2, "flask_uwsgi_mode": "threads"},
            "GET /healthz answered 302 instead of 200: a redirect to /login. flask_uwsgi_health_path=/healthz requires "
            "a login. Set flask_uwsgi_health_path to a path that answers 200 without a login",
            id="health redirects to a login",
            marks=pytest.mark.full,
        ),
        pytest.param(
            BLOCKS,
            {"flask_uwsgi_mode": "gevent", "flask_uwsgi_gevent_check_path": "/slow"},
            "flask_uwsgi_mode=gevent breaks this application, says the gevent check: cooperation: ",
            id="gevent mode breaks it",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "",
            {"flask_uwsgi_pre_activate": ["echo looking for tables", "flask --app notes no-such-command"]},
            "`flask --app notes no-such-command` of flask_uwsgi_pre_activate failed: it exited with status 2. Correct "
            "it",
            id="migration fails",
            # Other scenarios have one, too.
            marks=pytest.mark.full,
        ),
        pytest.param(
            "",
            {"flask_uwsgi_pre_activate": ["sleep 1000"], "flask_uwsgi_command_timeout": 1},
            "`sleep 1000` of flask_uwsgi_pre_activate failed: it did not end within 1 s (flask_uwsgi_command_timeout)",
            id="migration hangs",
            marks=pytest.mark.full,
        ),
        pytest.param(
            "",
            {"flask_uwsgi_port": 8041},
            "flask_uwsgi_port=8041 belongs to the application httpbin of this host (listens on 0.0.0.0:8041)",
            id="the port of another application",
            marks=pytest.mark.full,
        ),
    ],
)
def test_a_release_that_cannot_serve_is_refused_with_its_reason(
    refused: Callable[..., str], code: str, variables: dict[str, Any], message: str
) -> None:
    assert message in refused(appended(code), **variables)


def test_two_applications_of_one_deploy_with_the_same_port_are_refused(more: Any) -> None:
    status, output = more.deploy("greeter,plain", flask_uwsgi_port=8050)
    assert status != 0
    assert "flask_uwsgi_port=8050 is wanted by greeter and by plain on one host" in output
    assert "Nothing was changed" in output


def test_a_failing_command_after_the_swap_is_reported_and_the_new_generation_serves(site: Any) -> None:
    before = site.generation("plain")
    status, output = site.deploy("plain", flask_uwsgi_post_activate=["echo so far", "false"])
    assert status != 0
    assert "`false` of flask_uwsgi_post_activate failed: it exited with status 1" in output
    assert site.generation("plain") != before
    assert site.get(8044, "/x").status_code == 200


def test_a_removal_of_one_application_does_not_affect_the_others(more: Any) -> None:
    with undisturbed(more, "httpbin", "notes"):
        status, output = more.shell(
            "ansible-playbook playbooks/remove.yml --limit greeter -e flask_uwsgi_remove_data=true"
        )
    assert status == 0, output
    assert more.root("ls -d /opt/greeter /etc/systemd/system/greeter* 2>/dev/null || true") == ""
    assert more.root("ls /opt") == "httpbin\nnotes\nplain"
