"""A process behaves as Python code expects: loading, starting, forking and ending, in both modes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.application import Application, Deploy, Release

pytestmark = pytest.mark.timeout(600)

WORKERS = 2
ECHO = """
import socketserver
class Line(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("127.0.0.1", 7777), Line).serve_forever()
"""


@pytest.fixture(scope="module")
def site(deployed: Deploy, release: Release, mode: str, host: Any) -> Iterator[Application]:
    """An application that opens a connection and starts a thread at import, on a host without its locale."""
    with host.sudo():
        host.check_output("systemctl stop echo.service; systemctl reset-failed echo.service; true")
        host.run_expect([0], "systemd-run --unit=echo python3 -c '{}'".format(ECHO.replace("'", '"')))
    source = release("app_process.py")
    yield deployed(
        source,
        mode,
        flask_uwsgi_environment={"LANG": "de_DE.UTF-8"},
        flask_uwsgi_health_path="/",
        flask_uwsgi_stop_timeout=15,
    )


def ask(site: Application, path: str) -> Any:
    """Return what the application answers."""
    answer = site.get(path)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def looks(site: Application) -> dict[int, Any]:
    """Return each worker's report, by process id."""
    found: dict[int, Any] = {}

    def all_answered() -> bool:
        said = ask(site, "/look")
        found[said["pid"]] = said
        return len(found) == WORKERS

    site.wait_until(all_answered, "each worker has answered", 30)
    return found


def test_a_process_behaves_as_under_python(site: Application) -> None:
    for pid, said in looks(site).items():
        assert (said["text"], said["encoding"]) == ("sch\u00f6n", "utf-8")
        assert said["executable"].endswith("/bin/python")
        assert said["child"] == "42\n"
        assert said["role"] == "service"
        assert said["blocked"] == "0" * 16, "a child must accept signals"
        assert said["fork_seen"], "callbacks of os.register_at_fork run in a worker, and in a child"
        # A program inherits nothing of uWSGI's except the pipe for its output.
        assert said["sockets"] == 0
        assert said["loaded_by"] == pid
        assert said["ticks"] > 0


def test_no_request_gets_the_answer_of_another(site: Application) -> None:
    words = [f"word{number}" for number in range(400)]
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(lambda word: ask(site, f"/echo/{word}"), words)) == words


@pytest.mark.parametrize(("method", "times"), [("fork", 100), ("spawn", 4)])
def test_a_pool_of_processes_works_in_threads(site: Application, mode: str, method: str, times: int) -> None:
    if mode == "gevent":
        return
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: ask(site, f"/pool/{method}"), range(times))) == [30] * times


def test_a_process_executor_works_in_both_modes(site: Application) -> None:
    # A spawned process loads the application, whose thread keeps it from ending, as under plain Python.
    assert ask(site, "/executor/fork") == 30


def test_an_asyncio_loop_runs_in_a_request(site: Application) -> None:
    assert [ask(site, "/loop/") for _ in range(10)] == [[0, 1, 4]] * 10


def test_background_work_delays_neither_client_nor_stop(site: Application) -> None:
    began = time.monotonic()
    ask(site, "/background/")
    assert time.monotonic() - began < 10
    site.run(f"rm -f /var/lib/{site.name}/bye")
    pids, since = set(looks(site)), time.time()
    began = time.monotonic()
    site.run(f"systemctl restart '{site.unit}'")
    # Its thread never ends, so it gets five seconds.
    assert time.monotonic() - began < 14
    said = site.journal(since)
    assert said.count("[uwsgi-stop] worker") == WORKERS
    assert "ticker (run.py:" in said
    assert "(uwsgi) with signal SIGKILL" not in said
    assert "Failed with result" not in said
    lines = site.run(f"cat /var/lib/{site.name}/bye").splitlines()
    assert sorted(lines) == sorted(f"{pid} service" for pid in pids)


def test_a_worker_that_cannot_load_is_tried_again_and_the_others_serve(site: Application) -> None:
    first, second = sorted(looks(site))
    site.run(f"touch /var/lib/{site.name}/broken")
    since = time.time()
    site.run(f"kill -KILL {first}")
    site.wait_until(lambda: "failed loading app in worker" in site.journal(since), "it fails", 30)
    assert all(ask(site, "/echo/word") == "word" for _ in range(10))
    assert site.run(f"systemctl is-active '{site.unit}'").strip() == "active"
    site.run(f"rm /var/lib/{site.name}/broken")
    site.wait_until(lambda: all(worker["accepting"] for worker in site.stats["workers"]), "it serves again", 60)
    assert second in looks(site)


def test_an_instance_ends_with_the_reason_when_no_worker_can_load(site: Application) -> None:
    site.run(f"touch /var/lib/{site.name}/broken")
    since = time.time()
    try:
        ended = site.host.run(f"systemctl restart '{site.unit}'")
        said = site.journal(since)
        assert ended.rc != 0
        assert "RuntimeError: what it needs is gone" in said
        # The last attempt can still be running.
        assert said.count("RuntimeError: what it needs is gone") <= said.count("spawned uWSGI worker 1 ")
        assert "spawned uWSGI worker 2 " not in said
    finally:
        site.run(f"rm -f /var/lib/{site.name}/broken")
        site.run(f"systemctl restart '{site.unit}'")


def test_preload_refuses_what_workers_cannot_share(
    site: Application, play: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    before = site.generation
    done = play("deploy", *site.extra_vars, "-e", "flask_uwsgi_preload=true")
    lines = site.source.joinpath("run.py").read_text().splitlines()
    thread, connection = (
        next(number for number, line in enumerate(lines, 1) if text in line) for text in ("target=tick", "link = ")
    )
    assert done.returncode != 0
    assert f"the thread ticker (run.py:{thread})" in done.stdout
    assert f"a connection to 127.0.0.1:7777 (run.py:{connection})" in done.stdout
    assert "set flask_uwsgi_preload=false" in done.stdout
    assert site.generation == before
    assert ask(site, "/echo/word") == "word"


def test_a_pool_under_gevent_is_reported_and_auto_chooses_threads(
    release: Release, mode: str, play: Callable[..., subprocess.CompletedProcess[str]], host: Any
) -> None:
    if mode == "threads":
        return
    chosen = {
        "flask_uwsgi_app_name": "pools",
        "flask_uwsgi_port": 8190,
        "flask_uwsgi_source": str(release("app_pool.py")),
        "flask_uwsgi_health_path": "/",
    }
    done = play("deploy", "-e", "mode=auto", "-e", json.dumps({**chosen, "flask_uwsgi_gevent_check": "enforce"}))
    assert done.returncode == 0, done.stdout[-4000:]
    assert "multiprocessing.Pool" in done.stdout
    assert "run.py:" in done.stdout
    assert "ProcessPoolExecutor" in done.stdout
    with host.sudo():
        ini = host.check_output("cat /opt/pools/current/uwsgi.ini")
    assert "\nthreads = " in ini
