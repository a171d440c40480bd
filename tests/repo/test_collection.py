import json
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.repo.conftest import Ansible
from tests.support import ROOT

pytestmark = pytest.mark.slow
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml") if path.stem != "application_hosts")
LOOKUPS = sorted(path.stem for path in (ROOT / "plugins" / "lookup").glob("*.py"))


def test_the_artefact_contains_what_hosts_and_controllers_need_and_no_development_files(artefact: Path) -> None:
    with tarfile.open(artefact) as tar:
        names = {member.name for member in tar}
    for needed in ("plugins/module_utils/traffic/swap.py", "roles/flask_uwsgi/tasks/main.yml", "app/run.py"):
        assert needed in names, needed
    workshop = {".git", ".venv", ".collections", ".ansible", "tests", "molecule", "sandbox", "reports"}
    assert not {name.partition("/")[0] for name in names} & workshop


def test_the_artefact_has_its_readme_and_licence(artefact: Path) -> None:
    with tarfile.open(artefact) as tar:
        names = {member.name for member in tar}
    description = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    assert description["readme"] in names
    assert "LICENSE" in names


def test_another_projects_playbook_finds_the_role(elsewhere: Path, ansible: Ansible, installed: Path) -> None:
    assert (installed / "MANIFEST.json").is_file()
    playbook = elsewhere / "site.yml"
    playbook.write_text("- hosts: all\n  roles:\n    - flaskops.uwsgi.flask_uwsgi\n")
    ansible("ansible-playbook", "-i", "localhost,", "--syntax-check", playbook)


def test_the_installed_role_checks_settings_and_asks_for_the_application(
    elsewhere: Path, ansible: Ansible, installed: Path
) -> None:
    playbook = elsewhere / "refused.yml"
    # Refused before the host is contacted.
    playbook.write_text(
        "- hosts: all\n"
        "  connection: local\n"
        "  gather_facts: false\n"
        "  roles:\n"
        "    - {role: flaskops.uwsgi.flask_uwsgi, flask_uwsgi_port: 0}\n"
    )
    output = ansible("ansible-playbook", "-i", "localhost,", playbook, status=2).stdout
    assert "flask_uwsgi_port=0 is not valid: set it to a whole number from 1 to 65535" in output
    assert "flask_uwsgi_source is not set: set it to your application: a folder" in output


def test_there_is_a_playbook_for_every_operation() -> None:
    assert PLAYBOOKS == [
        "check_gevent",
        "compare",
        "compare_clients",
        "deploy",
        "drain",
        "load_balancer",
        "logs",
        "maintain",
        "maintenance",
        "remove",
        "restart",
        "rollback",
        "start",
        "status",
        "stop",
        "undrain",
        "verify",
    ]


@pytest.mark.playbook
@pytest.mark.parametrize("name", PLAYBOOKS)
def test_another_project_can_run_the_collections_playbooks(ansible: Ansible, installed: Path, name: str) -> None:
    ansible("ansible-playbook", "-i", "localhost,", "--syntax-check", f"flaskops.uwsgi.{name}")


def test_every_module_and_lookup_is_documented_with_examples(ansible: Ansible, installed: Path) -> None:
    for kind, names in (("module", MODULES), ("lookup", LOOKUPS)):
        full = [f"flaskops.uwsgi.{name}" for name in names]
        documented = json.loads(ansible("ansible-doc", "--type", kind, "--json", *full).stdout)
        assert documented.keys() == set(full)
        for name, page in documented.items():
            assert page["doc"]["short_description"] and page["doc"]["description"], name
            assert page["return"], name
            examples = yaml.safe_load(page["examples"])
            assert name in page["examples"] and examples, name
            for option, details in (page["doc"].get("options") or {}).items():
                assert details["description"], (name, option)


def test_the_examples_of_modules_use_options_that_exist(ansible: Ansible, installed: Path) -> None:
    full = [f"flaskops.uwsgi.{name}" for name in MODULES]
    documented = json.loads(ansible("ansible-doc", "--type", "module", "--json", *full).stdout)
    for name, page in documented.items():
        options = page["doc"].get("options") or {}
        required = {option for option, details in options.items() if details.get("required")}
        for task in yaml.safe_load(page["examples"]):
            if name in task:
                assert required <= (task[name] or {}).keys() <= options.keys(), (name, task)


def test_every_entry_point_of_a_role_is_documented(ansible: Ansible, installed: Path) -> None:
    roles = sorted(path.name for path in (ROOT / "roles").iterdir())
    full = [f"flaskops.uwsgi.{name}" for name in roles]
    documented = json.loads(ansible("ansible-doc", "--type", "role", "--json", *full).stdout)
    assert documented.keys() == set(full)
    for name in roles:
        specs = yaml.safe_load((ROOT / "roles" / name / "meta" / "argument_specs.yml").read_text())["argument_specs"]
        shown = documented[f"flaskops.uwsgi.{name}"]["entry_points"]
        assert shown.keys() == specs.keys(), name
        assert all(page["short_description"] for page in shown.values()), name
