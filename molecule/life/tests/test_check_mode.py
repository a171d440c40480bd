"""`--check --diff` shows what would happen, without secrets, and changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.service import APP, OTHER, sample_application

SECRET = "oh-so-secret-4711"
# Every file of the application and of its units with size, time and mode; the units' state; the kernel setting.
TRACES = (
    f"find /opt/{APP} /run/{APP}* /etc/systemd/system /etc/sysctl.d -path '*__pycache__*' -prune"
    " -o -printf '%p %s %T@ %m %u %l\\n' | sort;"
    f" systemctl show '{APP}*' --property=Id,ActiveState,MainPID,UnitFileState,NRestarts,NeedDaemonReload;"
    " sysctl net.core.somaxconn"
)

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def untouched(service: Any) -> Iterator[None]:
    """Assert that nothing changes, whatever the test runs."""
    before = set(service.run(TRACES).splitlines())
    yield
    assert set(service.run(TRACES).splitlines()) ^ before == set()
    assert requests.get(service.url + "/healthz", timeout=10).json()["generation"] == service.generation


@pytest.fixture
def pretend(play: Callable[..., Any]) -> Callable[..., tuple[str, int]]:
    """Run a playbook in check mode; return its output as one line with single spaces, and how much would change."""

    def run(playbook: str, *arguments: str, code: int = 0) -> tuple[str, int]:
        done = play(playbook, "--check", "--diff", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        (changed,) = re.findall(r"changed=(\d+)", done.stdout)
        return " ".join(done.stdout.split()), int(changed)

    return run


def test_a_deploy_with_nothing_to_do_says_so(pretend: Any, service: Any, mode: str) -> None:
    said, changed = pretend("deploy", "-e", f"mode={mode}")
    assert f"nothing to do: generation {service.generation} ({mode}) serves as wanted" in said
    assert changed == 0


def test_a_deploy_of_another_mode_and_address_shows_both_and_how_the_traffic_moves(
    pretend: Any, service: Any, mode: str
) -> None:
    said, changed = pretend("deploy", "-e", f"mode={OTHER[mode]}", "-e", "flask_uwsgi_port=8041")
    assert re.search(
        rf"{service.generation} \({mode}\) -> [0-9a-f]{{12}} \({OTHER[mode]}\); traffic moves once it is proven", said
    )
    assert "on the host, wheels on the host" in said
    assert "address 0.0.0.0:8040 -> 0.0.0.0:8041: the old one is served until the new one answers, then closed" in said
    assert "+++ new/uwsgi.ini" in said
    assert changed > 0


def test_a_deploy_of_new_code_shows_that_it_would_be_copied(
    pretend: Any, service: Any, mode: str, tmp_path: Path
) -> None:
    folder = sample_application(tmp_path)
    (folder / "release.txt").write_text("new")
    said, changed = pretend("deploy", "-e", f"mode={mode}", "-e", f"flask_uwsgi_source={folder}")
    assert re.search(r"artifact [0-9a-f]{12}: to ship, wheels on the host", said)
    assert "address" not in said
    assert changed > 0


def test_a_changed_secret_is_shown_only_by_its_name(pretend: Any, mode: str) -> None:
    values = json.dumps({"flask_uwsgi_environment": {"SHOP_TOKEN": SECRET}})
    said, changed = pretend("deploy", "-e", f"mode={mode}", "-e", values, "-vvv")
    assert "environment (values hidden) + SHOP_TOKEN" in said
    assert changed > 0


def test_a_restart_would_change_something(pretend: Any, service: Any) -> None:
    said, changed = pretend("restart")
    assert f"generation {service.generation} would be restarted" in said
    assert changed == 1


def test_a_stop_would_change_something_and_a_start_would_not(pretend: Any, service: Any) -> None:
    said, changed = pretend("stop")
    assert f"generation {service.generation} would be stopped" in said
    assert changed == 1
    said, changed = pretend("start")
    assert f"generation {service.generation} was already started" in said
    assert changed == 0


def test_a_rollback_says_why_there_is_no_generation_to_go_back_to(pretend: Any, service: Any) -> None:
    generation = service.generation
    said, _ = pretend("rollback", code=2)
    assert f"flask_uwsgi_rollback_to=previous: no generation served here before {generation}" in said
    said, changed = pretend("rollback", "-e", f"to={generation}")
    assert f"nothing to do: generation {generation} already serves" in said
    assert changed == 0


def test_a_removal_names_what_would_go(pretend: Any) -> None:
    said, changed = pretend("remove")
    assert f"{APP} would be removed; its data and its account are kept" in said
    assert f"-/opt/{APP} " in said and f"-/etc/systemd/system/{APP}@.service " in said
    assert f"-/var/lib/{APP}" not in said
    assert changed == 1
    said, changed = pretend("remove", "-e", "flask_uwsgi_remove_data=true")
    assert f"-/var/lib/{APP} " in said
    assert f"-account {APP} " in said and f"-group {APP} " in said
    assert changed == 1
