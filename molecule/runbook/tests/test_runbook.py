"""The runbook, step by step: each section's fault is caused, and the page's commands must repair it.

The sections form one long night and build on each other.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout

from tests.support import ROOT, connections, console, remote, runbook
from tests.support.clone import clone, write
from tests.support.service import APP, wait

PAGE = runbook.parse((ROOT / runbook.PAGE).read_text())
INVENTORY = "inventory/production"
SETTINGS = f"{INVENTORY}/group_vars/all.yml"
HOSTS = f"{INVENTORY}/hosts.yml"
# The token of the shop, before and after the page changes it.
SECRETS = ("oh-so-secret-before", "oh-so-secret-after")
AUTHORITIES = Path("/usr/local/share/ca-certificates")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

pytestmark = pytest.mark.timeout(300)

FAULTS = runbook.Faults()
fault = FAULTS.of
# From here on, sections are routine that other scenarios have as well, or about new machines: the full run has time for
# them.
LATER = "Restart"


class Site:
    """An operator's controller: a clone with its own inventory, and the hosts in this inventory."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.shop = folder / "shop"
        self.done: list[runbook.Step] = []
        self.down = False
        self.warmed: subprocess.Popen[str] | None = None
        self.undo: list[Callable[[], object]] = []
        found = yaml.safe_load(Path(os.environ["SANDBOX_INVENTORY"]).read_text())["all"]["children"]
        self.variables: dict[str, dict[str, str]] = {}
        self.groups = {group: list(members["hosts"]) for group, members in found.items()}
        self._meet(found)
        self.other, self.host = self.groups["flask"]
        self.build = self.groups["build"][0]
        self._clone(folder)

    def _meet(self, groups: Mapping[str, Any]) -> None:
        for members in groups.values():
            self.variables |= members["hosts"]

    def _clone(self, folder: Path) -> None:
        clone(self.clone)
        shutil.copytree(ROOT / "app", self.shop, ignore=shutil.ignore_patterns("tests", "__pycache__"))
        shutil.copy(Path(__file__).with_name("shop_faults.py"), self.shop / "faults.py")
        with (self.shop / "run.py").open("a") as source:
            source.write("\nimport faults\n\napp.register_blueprint(faults.blueprint)\n")
        (self.shop / "orders.json").write_text("{}")
        self.release()
        # The site starts small, for speed.
        self.join("flask", self.host)
        self.join("build", self.build)
        for host, variables in self.variables.items():
            self.write(f"{INVENTORY}/host_vars/{host}.yml", yaml.safe_dump(variables))
        self.write(
            SETTINGS,
            yaml.safe_dump(
                {
                    "flask_uwsgi_source": "{{ inventory_dir }}/../../../shop",
                    "flask_uwsgi_mode": "gevent",
                    "artifact_cache": str(folder / "cache"),
                    # A worker that hangs delays a stop by this long.
                    "flask_uwsgi_stop_timeout": 5,
                    "flask_uwsgi_canary_seconds": 0.5,
                    "flask_uwsgi_secrets": {"SHOP_TOKEN": "{{ shop_token }}"},
                    "flask_uwsgi_secrets_in_environment": True,
                }
            ),
        )
        self.write(f"{INVENTORY}/group_vars/flask.yml", f"shop_token: {SECRETS[0]}\n")
        # Earlier builds stay cached; what this night builds is removed with it.
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flaskops/artifacts"
        shutil.copytree(cache, folder / "cache", copy_function=os.symlink)
        (folder / "vault").write_text("of the vault")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        self.environment = kept | {
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "vault"),
            # How long Ansible tries to reach a lost machine.
            "ANSIBLE_TIMEOUT": "3",
            "EDITOR": f"sed -i s/{SECRETS[0]}/{SECRETS[1]}/",
        }
        self.shell(f"ansible-vault encrypt {INVENTORY}/group_vars/flask.yml", check=True)

    # The operator's actions.

    def shell(self, command: str, check: bool = False) -> tuple[int, str]:
        """Run a command on the controller; its output may contain no secret."""
        started = time.monotonic()
        running = self.begin(command)
        output = running.communicate()[0]
        print(f"{time.monotonic() - started:5.1f} s  {command}")
        assert not check or running.returncode == 0, f"{command}\n{output}"
        assert not any(secret in output for secret in SECRETS), f"{command}\n{output}"
        return running.returncode, output

    def begin(self, command: str) -> subprocess.Popen[str]:
        """Begin a command on the controller, as after the page's first lines."""
        first = [step.text for step in PAGE.steps if isinstance(step, runbook.Command)][:2]
        return subprocess.Popen(
            ["bash", "-c", "\n".join([*first, command])],
            cwd=self.clone,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def warm(self) -> subprocess.Popen[str]:
        """Let the build host compile uWSGI meanwhile, because pip on an older site has it cached."""
        found = json.loads(self.root(self.host, f"cat /opt/{APP}/current/manifest.json"))
        variables = {"platform": found["platform"], "source": self.shop, "cache": self.clone.parent / "warm"}
        words = " ".join(f"-e artifact_{name}={value}" for name, value in variables.items())
        return self.begin(f"ansible build -m include_role -a name=flaskops.uwsgi.artifact {words} > /dev/null")

    def deploy(self, *arguments: str) -> None:
        """Deploy the current code and inventory."""
        self.shell(f"ansible-playbook deploy.yml -e mode=gevent {shlex.join(arguments)}", check=True)

    def write(self, file: str, text: str) -> None:
        """Add a setting to a file of the inventory."""
        write(self.clone / file, text)

    def join(self, group: str, host: str) -> None:
        """Add a host to the inventory."""
        self.write(HOSTS, yaml.safe_dump({"all": {"children": {group: {"hosts": {host: None}}}}}))

    @property
    def serving(self) -> list[str]:
        """The application hosts of the inventory."""
        return list(yaml.safe_load((self.clone / HOSTS).read_text())["all"]["children"]["flask"]["hosts"])

    def release(self) -> None:
        """Change the code without an effect."""
        (self.shop / "release.txt").write_text(f"{time.monotonic_ns()}")

    # Events on the hosts.

    def ssh(self, host: str, command: str) -> tuple[int, str]:
        """Run a command on a host, as root."""
        return remote.as_root(self.variables[host], command)

    def root(self, host: str, command: str) -> str:
        """Run a command on a host as root; it must succeed."""
        return remote.root(self.variables[host], command)

    def get(self, host: str, path: str = "healthz", timeout: float = 5) -> requests.Response:
        """Request a page of a host, as a visitor does."""
        return requests.get(f"http://{self.variables[host]['ansible_host']}:8040/{path}", timeout=timeout)

    def answers(self, host: str, timeout: float = 5) -> bool:
        """Return whether a visitor gets an answer."""
        try:
            return self.get(host, timeout=timeout).status_code == 200
        except requests.RequestException:
            return False

    def generation(self, host: str) -> str:
        """Return the generation that serves on a host."""
        return self.root(host, f"readlink /opt/{APP}/current").rpartition("/")[2]

    def hang(self, host: str, workers: int) -> None:
        """Make so many workers hang, and wait until they do."""

        def visit() -> None:
            with suppress(requests.RequestException):
                self.get(host, "hang", timeout=120)

        for wanted in range(self.busy(host) + 1, self.busy(host) + workers + 1):
            threading.Thread(target=visit, daemon=True).start()
            wait(functools.partial(self._so_busy, host, wanted), f"{host} is busy")

    def _so_busy(self, host: str, workers: int) -> bool:
        return self.busy(host) >= workers

    def busy(self, host: str) -> int:
        """Return how many workers have a request in flight, according to uWSGI."""
        uwsgi = f"/opt/{APP}/current/venv/bin/uwsgi"
        generation = self.generation(host)
        path = f"/run/{APP}/{generation}/{generation}.stats"
        stats = json.loads(self.root(host, f"{uwsgi} --connect-and-read {path} 2>&1"))
        return sum(any(core["in_request"] for core in worker["cores"]) for worker in stats["workers"])

    def sandbox(self, *words: str) -> None:
        """Act as the provider of the machines."""
        subprocess.run([*console.SANDBOX, *words], cwd=ROOT, check=True, capture_output=True)
        connections.forget()

    def machines(self) -> None:
        """Start all machines, and recreate lost ones."""
        file = os.environ["SANDBOX_INVENTORY"]
        suite = os.environ.get("FLASKOPS_SUITE", "bookworm")
        wanted = [f"{host}:{suite}:{group}" for group, hosts in self.groups.items() for host in hosts]
        self.sandbox("up", *wanted, "--inventory", file)
        self._meet(yaml.safe_load(Path(file).read_text())["all"]["children"])
        for host, variables in self.variables.items():
            self.write(f"{INVENTORY}/host_vars/{host}.yml", yaml.safe_dump(variables))


# The faults of the night, in order: each needs the state that the one before left.


@fault("Before you start")
def _(site: Site) -> None:
    """Nothing: everything works."""


@fault("Site down")
def _(site: Site) -> None:
    site.root(site.host, f"systemctl stop '{APP}*.socket' '{APP}@*.service'")
    assert not site.answers(site.host)
    site.down = True


@fault("It was stopped")
def _(site: Site) -> None:
    assert not site.answers(site.host)
    site.down = False


@fault("Read logs")
def _(site: Site) -> dict[str, str]:
    return {"GENERATION": site.generation(site.host)}


@fault("Profile a slow worker")
def _(site: Site) -> None:
    site.hang(site.host, 1)


@fault("Slow")
def _(site: Site) -> None:
    # Profiling has left one that hangs.
    site.hang(site.host, 4 - site.busy(site.host))
    assert not site.answers(site.host, timeout=1)


@fault("Memory")
def _(site: Site) -> None:
    site.release()
    assert site.get(site.host, "leak", timeout=20).status_code == 200


@fault("It crashes at every start")
def _(site: Site) -> None:
    site.root(site.host, f"rm $(readlink -f /opt/{APP}/current/release)/settings.py")
    site.root(site.host, f"systemctl kill --signal=KILL '{APP}@*.service'")
    journal = f"journalctl -u '{APP}@*' -n 50"
    wait(lambda: "ModuleNotFoundError" in site.root(site.host, journal), "ModuleNotFoundError in the journal")
    # That release is lost.
    site.release()


@fault("Deploy")
def _(site: Site) -> None:
    site.release()


@fault("Errors (5xx)")
def _(site: Site) -> dict[str, str]:
    site.root(site.host, f": > $(readlink -f /opt/{APP}/current/release)/orders.json")
    assert site.get(site.host, "orders").status_code == 500
    # That release is lost.
    site.release()
    return {"PAGE": "orders"}


@fault("Switch the mode")
def _(site: Site) -> None:
    """Nothing: this is routine."""


@fault("Roll back")
def _(site: Site) -> dict[str, str]:
    assert site.get(site.host).json()["mode"] == "threads"
    return {"GENERATION": site.generation(site.host)}


@fault("Another deploy is at work")
def _(site: Site) -> None:
    other = {"what": "deploy", "who": "root@other", "home": "other", "pid": 4711, "start": 1,
             "since": "2026-11-24T03:12:00Z"}  # fmt: skip
    site.root(site.host, f"echo {shlex.quote(json.dumps(other))} > {Layout(APP, Path('/opt')).lock}")


@fault("The new release does not start")
def _(site: Site) -> None:
    code = site.shop / "run.py"
    good = code.read_text()
    code.write_text(f'{good}\nraise RuntimeError("the data base is away")\n')
    site.undo.append(lambda: code.write_text(good))


@fault("Disk full")
def _(site: Site) -> dict[str, str]:
    move = "mkdir -p /mnt/opt && {} && cp -a /opt/. /mnt/opt && mount --bind /mnt/opt /opt && umount /mnt/opt"
    site.root(site.host, move.format("mount -t tmpfs -o size=400m tmpfs /mnt/opt"))
    free = int(site.root(site.host, "df --output=avail -B1 /opt | tail -n 1"))
    site.root(site.host, f"fallocate -l {free - 2 * 2**20} /opt/dump.sql")
    site.undo.append(lambda: site.root(site.host, "umount --lazy /opt"))
    return {"FILE": "/opt/dump.sql"}


@fault("Restart")
def _(site: Site) -> None:
    """Nothing: this is routine."""


@fault("Stop and start")
def _(site: Site) -> None:
    """Nothing: this is routine."""


@fault("Resize")
def _(site: Site) -> None:
    """Nothing: this is routine."""


@fault("Rotate a secret")
def _(site: Site) -> None:
    """Nothing: this is routine."""


@fault("Add a host")
def _(site: Site) -> dict[str, str]:
    site.sandbox("down", site.other)
    site.machines()
    return {"HOST": site.other}


@fault("Wrong version")
def _(site: Site) -> dict[str, str]:
    right = site.generation(site.other)
    site.shell(f"ansible-playbook playbooks/rollback.yml --limit {site.host}", check=True)
    assert site.generation(site.host) != right
    return {"GENERATION": right}


@fault("Patch the system")
def _(site: Site) -> dict[str, str]:
    """Nothing: this is routine."""
    return {"HOST": site.other}


@fault("Retire a host")
def _(site: Site) -> dict[str, str]:
    """Nothing: this is routine."""
    return {"HOST": site.other}


@fault("Host lost")
def _(site: Site) -> dict[str, str]:
    site.join("flask", site.other)
    site.sandbox("down", site.other)
    return {"HOST": site.other}


@fault("Registry and its certificate")
def _(site: Site) -> dict[str, str]:
    if site.warmed:
        site.warmed.communicate()
    lock = site.shop / "requirements.txt"
    # One more hash makes another lock, whose packages no cache has.
    lock.write_text(lock.read_text().replace("--hash=", f"--hash=sha256:{secrets.token_hex(32)} --hash=", 1))
    known = [file.read_text() for file in AUTHORITIES.glob("*.crt")]
    authority = site.clone.parent / "authority.crt"
    authority.write_text("".join(known) or BUNDLE.read_text())
    steps = (
        f"mkdir -p /var/tmp/saved $HOME/.config/pip; mv {AUTHORITIES}/*.crt /var/tmp/saved",
        f"update-ca-certificates --fresh; rm {BUNDLE.parent}/*.0",
        f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=nobody -keyout /dev/null -out {BUNDLE}",
        # pip would try an untrusted registry six times in vain; without a second attempt it does not report why.
        r"printf '[global]\nretries = 1\n' > $HOME/.config/pip/pip.conf",
    )
    site.root(site.build, "; ".join(steps))
    mended = f"rm -f {AUTHORITIES}/* $HOME/.config/pip/pip.conf; mv /var/tmp/saved/* {AUTHORITIES}"
    site.undo.append(lambda: site.root(site.build, f"{mended}; update-ca-certificates --fresh"))
    return {"CERTIFICATE": str(authority)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site. After the night, its hosts are of no use to another test."""
    found = Site(tmp_path_factory.mktemp("night"))
    if os.environ.get("FLASKOPS_FULL"):
        found.warmed = found.warm()
    found.deploy()
    return found


def night() -> Iterator[Any]:
    """Return the sections in order; the later ones are for the full run."""
    late = False
    for title in FAULTS:
        late = late or title == LATER
        yield pytest.param(title, marks=[pytest.mark.full] if late else [])


@pytest.mark.parametrize("title", night())
def test_the_page_repairs_the_fault(title: str, site: Site) -> None:
    section = next(section for section in PAGE.sections if section.title == title)
    values = {"HOST": site.host, "APP": APP, "MODE": "gevent", **(FAULTS[title](site) or {})}
    shells = {runbook.CONTROLLER: site.shell, runbook.HOST: lambda command: site.ssh(values["HOST"], command)}
    try:
        site.done += runbook.run(section, values, shells, site.write)
    finally:
        while site.undo:
            site.undo.pop()()
    for host in site.serving:
        assert site.down or site.get(host).status_code == 200, host


def test_every_section_of_the_page_has_its_fault() -> None:
    assert {section.title for section in PAGE.sections if section.steps} == set(FAULTS)


@pytest.mark.full
def test_every_step_of_the_page_was_executed(site: Site) -> None:
    assert sorted(site.done, key=lambda step: step.line) == PAGE.steps
