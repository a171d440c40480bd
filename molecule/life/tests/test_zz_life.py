"""Stop, start and remove, each twice. The file name sorts last; the tests restore the initial state."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.service import APP

# Everything that an application leaves on a host, except its data.
LEFT = (
    f"find /opt /run /etc/systemd /etc/sysctl.d -name '*{APP}*' -not -path '/run/{APP}.deploy'"
    f" -not -path '/run/systemd/*'; systemctl list-units --all --plain --no-legend '{APP}*';"
    f" systemctl list-unit-files --no-legend '{APP}*' || true"
)
ACCOUNT = f"getent passwd {APP}; getent group {APP}"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def run(play: Callable[..., Any]) -> Callable[..., tuple[str, int]]:
    """Run a playbook; return its output as one line with single spaces, and how much changed."""

    def said(playbook: str, *arguments: str, code: int = 0) -> tuple[str, int]:
        done = play(playbook, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        (changed,) = re.findall(r"changed=(\d+)", done.stdout)
        return " ".join(done.stdout.split()), int(changed)

    return said


def refused(url: str) -> bool:
    """Return whether connections are refused; any error other than that is raised."""
    try:
        requests.get(url + "/healthz", timeout=10).raise_for_status()
    except requests.ConnectionError as error:
        assert "Connection refused" in str(error)
        return True
    return False


def test_a_stop_refuses_connections_and_a_start_answers_and_both_are_idempotent(service: Any, run: Any) -> None:
    generation = service.generation
    try:
        said, changed = run("stop")
        assert f"generation {generation} stopped" in said and changed == 1
        assert refused(service.url)
        assert service.run(f"systemctl list-units --plain --no-legend '{APP}*'") == ""
        said, changed = run("stop")
        assert f"generation {generation} was already stopped" in said and changed == 0
        said, changed = run("start", "--check")
        assert f"generation {generation} would be started" in said and changed == 1
        assert refused(service.url)
    finally:
        said, changed = run("start")
    assert f"generation {generation} started" in said and changed == 1
    assert requests.get(service.url + "/healthz", timeout=10).json()["generation"] == generation
    said, changed = run("start")
    assert f"generation {generation} was already started" in said and changed == 0


@pytest.mark.parametrize(
    ("playbook", "option", "message"),
    [
        (
            "remove",
            "flask_uwsgi_remove_data=x",
            "'flask_uwsgi_remove_data' is of type str and we were unable to convert",
        ),
        (
            "rollback",
            "to=nonsense",
            r"flask_uwsgi_rollback_to=nonsense is not on this host: set it to one of those kept: [0-9a-f]{12}.*"
            r"Nothing was changed\.",
        ),
    ],
)
def test_an_invalid_value_is_reported_with_the_remedy_before_any_change(
    service: Any, run: Any, playbook: str, option: str, message: str
) -> None:
    before = service.run(f"cat /run/{APP}/{APP}.pid")
    said, changed = run(playbook, "-e", option, code=2)
    assert re.search(message, said), said
    assert changed == 0
    assert service.run(f"cat /run/{APP}/{APP}.pid") == before
    assert not refused(service.url)


# Its deploys leave a generation to go back to.
@pytest.mark.full
def test_a_rollback_in_check_mode_shows_both_generations(service: Any, run: Any) -> None:
    generation, target = service.generation, service.status["rollback"]
    assert target not in (None, generation)
    said, changed = run("rollback", "--check")
    assert f"{generation} -> {target}; traffic moves once it is proven" in said
    assert changed == 1
    assert service.generation == generation


def test_a_removal_keeps_the_data_and_a_deploy_restores_everything(service: Any, run: Any, mode: str) -> None:
    generation, account = service.generation, service.run(ACCOUNT)
    kept = f"/var/lib/{APP}/orders.json"
    service.run(f"echo precious > {kept}")
    try:
        said, changed = run("remove")
        assert f"{APP} is removed; its data and its account are kept" in said and changed == 1
        assert refused(service.url)
        assert service.run(LEFT) == ""
        assert service.run(f"cat {kept}") == "precious"
        assert service.run(ACCOUNT) == account
        said, changed = run("remove")
        assert f"{APP} was already removed; its data and its account are kept" in said and changed == 0
        said, changed = run("remove", "-e", "flask_uwsgi_remove_data=true")
        assert changed == 1 and "stays:" not in said, said
        assert service.run(f"ls -d /var/*/{APP} 2>/dev/null || true") == ""
        assert service.host.run(ACCOUNT).stdout == ""
        assert run("remove", "-e", "flask_uwsgi_remove_data=true")[1] == 0
    finally:
        run("deploy", "-e", f"mode={mode}")
    assert service.generation == generation
    assert requests.get(service.url + "/healthz", timeout=10).json()["generation"] == generation
    assert run("deploy", "-e", f"mode={mode}")[1] == 0
