"""The playbooks reach the application hosts and no others, and a run without any is refused."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

PLAYBOOKS = sorted(path for path in (ROOT / "playbooks").glob("*.yml") if path.stem != "application_hosts")
BENCHMARKS = [ROOT / "benchmarks" / f"{name}.yml" for name in ("servers", "ten_tasks")]
# A database, a build host, a load host and a load balancer beside two application hosts.
HOSTS = {
    "flask": {"children": {"shop": {"hosts": {"web1": None, "web2": None}}}},
    "build": {"hosts": {"build1": None}},
    "loadgen": {"hosts": {"load1": None}},
    "load_balancer": {"hosts": {"lb1": None}},
    "db": {"hosts": {"db1": None}},
}
WITHOUT = {"web": {"hosts": {"web1": None}}}
MISSING = "The inventory has no hosts in the group flask: put each application host"


def run(tmp_path: Path, inventory: object, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(yaml.safe_dump(inventory))
    return subprocess.run(
        ["ansible-playbook", "--inventory", hosts, *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.playbook
def test_a_playbook_reaches_the_group_flask_and_no_other_host(tmp_path: Path) -> None:
    done = run(tmp_path, HOSTS, "--list-hosts", *PLAYBOOKS, *BENCHMARKS)
    assert done.returncode == 0, done.stdout
    listed = done.stdout.split("\nplaybook: ")[1:]
    assert len(listed) == len(PLAYBOOKS) + len(BENCHMARKS)
    for playbook in listed:
        _, *plays = playbook.split("\n  play #")
        assert plays
        reached = [{line.strip() for line in play.splitlines() if line.startswith(" " * 6)} for play in plays]
        balancers = [{"lb1"}] if re.search(r"/(load_balancer|maintenance|servers|status|verify)\.yml", playbook) else []
        assert all(hosts in [{"web1", "web2"}, *balancers] for hosts in reached), playbook


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_first_checks_that_there_are_application_hosts(playbook: Path) -> None:
    assert yaml.safe_load(playbook.read_text())[0]["ansible.builtin.import_playbook"] == "application_hosts.yml"


def test_no_host_leaves_a_play_alone() -> None:
    # Whenever Ansible gathers variables, it compares all hosts of a play with those that left it by end_host.
    files = [*PLAYBOOKS, *(ROOT / "roles").glob("*/*/*.yml")]
    assert [file for file in files if re.search(r"meta: .*end_host", file.read_text())] == []


@pytest.mark.playbook
@pytest.mark.parametrize(
    ("inventory", "arguments", "said"),
    [
        pytest.param(WITHOUT, [], MISSING, id="no group"),
        pytest.param(WITHOUT, ["--limit", "web1"], MISSING, id="no group, with --limit"),
        pytest.param({**HOSTS, "flask": {}}, [], MISSING, id="an empty group"),
        pytest.param({}, [], MISSING, id="an empty inventory"),
        pytest.param(
            HOSTS, ["--limit", "db1"], "--limit db1 matches no host of the group flask: name an", id="a database"
        ),
        pytest.param(HOSTS, ["--limit", "web9"], "--limit leaves us with no hosts to target", id="a host that is gone"),
        pytest.param(HOSTS, ["-e", "target=web1"], "target=web1 is not read: use --limit web1", id="target"),
    ],
)
def test_a_run_without_application_hosts_is_refused_before_any_host_is_contacted(
    tmp_path: Path, inventory: object, arguments: list[str], said: str
) -> None:
    done = run(tmp_path, inventory, ROOT / "deploy.yml", *arguments)
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout
    assert set(re.findall(r"^TASK \[(.*)\]", done.stdout, re.M)) <= {"Refuse the run"}


@pytest.mark.playbook
@pytest.mark.parametrize("playbook", ["load_balancer", "drain", "undrain", "maintain", "maintenance"])
def test_a_run_without_balancers_is_refused_before_any_host_is_contacted(tmp_path: Path, playbook: str) -> None:
    without = {group: hosts for group, hosts in HOSTS.items() if group != "load_balancer"}
    done = run(tmp_path, without, ROOT / "playbooks" / f"{playbook}.yml", "-e", "action=reboot", "-e", "state=on")
    assert done.returncode == 2
    assert "The inventory has no hosts in the group load_balancer: put the balancers there" in done.stdout
    assert "Nothing was changed." in " ".join(done.stdout.split())


@pytest.mark.playbook
def test_a_shared_address_of_another_network_is_refused_before_anything_is_installed(tmp_path: Path) -> None:
    sites = [{"names": ["shop.example.org"], "app": "flask"}]
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "flask_uwsgi_source": str(ROOT / "app"),
        "flask_uwsgi_mode": "gevent",
        "load_balancer_sites": sites,
        "load_balancer_vip": "203.0.113.9",
    }
    hosts = {"flask": {"hosts": {"web1": None}}, "load_balancer": {"hosts": {"lb1": None}}}
    inventory = {"all": {"vars": variables, "children": hosts}}
    done = run(tmp_path, inventory, ROOT / "playbooks" / "load_balancer.yml", "--check")
    assert done.returncode == 2
    assert "load_balancer_vip=203.0.113.9 is in none of this host's networks" in " ".join(done.stdout.split())
    assert "Install HAProxy" not in done.stdout and "would be installed" not in done.stdout
