import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml"))

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.is_file() else None


def defaults(role: Path) -> dict[str, Any]:
    return load(role / "defaults" / "main.yml") or {}


def specs(role: Path) -> dict[str, Any]:
    return load(role / "meta" / "argument_specs.yml")["argument_specs"]  # type: ignore[no-any-return]


def flat(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def options(role: Path) -> dict[str, Any]:
    """Return the options of all entry points of a role."""
    return {name: spec for entry in specs(role).values() for name, spec in (entry.get("options") or {}).items()}


def tasks(role: Path) -> Iterator[dict[str, Any]]:
    """Yield every task of a role, including those in blocks."""
    waiting = [task for file in sorted(role.glob("*s/*.yml")) if isinstance(load(file), list) for task in load(file)]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [inner for part in ("block", "rescue", "always") for inner in task.get(part) or []]


def test_there_are_roles() -> None:
    assert {role.name for role in ROLES} >= {
        "flask_uwsgi",
        "load_balancer",
        "artifact",
        "packages",
        "loadtest",
        "compare",
    }
    assert sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()) == ROLES


@every_role
def test_defaults_and_argument_specs_name_the_same_variables(role: Path) -> None:
    optional = {name for name, spec in options(role).items() if not spec.get("required")}
    assert optional == defaults(role).keys()


@every_role
def test_a_required_variable_has_no_default(role: Path) -> None:
    required = {name for name, spec in options(role).items() if spec.get("required")}
    assert not required & defaults(role).keys()


@every_role
def test_every_entry_point_and_every_option_is_described(role: Path) -> None:
    for name, spec in specs(role).items():
        assert spec.get("short_description"), name
        for option, details in (spec.get("options") or {}).items():
            assert details.get("type"), (name, option)
            description = " ".join(flat(details["description"]))
            assert len(description) > 10 and description[0].isupper() and description.endswith("."), (name, option)
            assert details["type"] != "list" or details.get("elements"), (name, option)


@every_role
def test_every_described_entry_point_exists(role: Path) -> None:
    for name in specs(role):
        assert (role / "tasks" / f"{name}.yml").is_file(), name


def entry_points(node: Any) -> Iterator[tuple[str, str]]:
    """Yield the role and the entry point of each use of a role of the collection in a file."""
    if isinstance(node, list):
        for inner in node:
            yield from entry_points(inner)
    elif isinstance(node, dict):
        collection, _, role = str(node.get("name", "")).rpartition(".")
        if "tasks_from" in node and collection == "flaskops.uwsgi":
            yield role, str(node["tasks_from"])
        for inner in node.values():
            yield from entry_points(inner)


# The phases of a deploy, which the role's own entry point and the playbooks share. They have no options of their own,
# and a described entry point costs every host the check of its arguments.
PARTS = {
    ("flask_uwsgi", part)
    for part in ("plan", "look", "ready", "reserve", "prepare", "activate", "report", "take_back", "rollback_plan")
}


def test_every_used_entry_point_is_described() -> None:
    files = [*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]
    used = {use for file in files for use in entry_points(load(file)) if "{{" not in use[1]}
    assert ("flask_uwsgi", "status") in used
    described = {(role.name, entry) for role in ROLES for entry in specs(role)}
    assert sorted(used - described - PARTS) == []


@every_role
def test_a_default_in_the_specs_is_the_real_one(role: Path) -> None:
    repeated = {name: spec["default"] for name, spec in options(role).items() if "default" in spec}
    assert repeated == {name: defaults(role)[name] for name in repeated}


@every_role
def test_an_option_with_few_values_has_choices(role: Path) -> None:
    for name, spec in options(role).items():
        if re.search(r"_(mode|scheme|state|format_name)$", name):
            assert spec.get("choices"), name
        if spec.get("choices") and "{{" not in str(defaults(role).get(name, "")):
            assert defaults(role).get(name) in spec["choices"], name


@every_role
def test_every_variable_begins_with_the_roles_name(role: Path) -> None:
    own = re.compile(rf"(__)?{role.name}_\w+")
    names = {*defaults(role), *(load(role / "vars" / "main.yml") or {}), *options(role)}
    for task in tasks(role):
        names |= {str(task["register"])} if "register" in task else set()
        names |= (task.get("ansible.builtin.set_fact") or {}).keys() - {"cacheable"}
        includes = task.keys() & {"ansible.builtin.include_role", "ansible.builtin.import_role"}
        # Another role's variables have that role's name.
        names |= set() if includes else (task.get("vars") or {}).keys()
    foreign = [name for name in sorted(names) if not own.fullmatch(name) and not name.startswith("ansible_")]
    assert foreign == []


@every_role
def test_every_default_has_a_comment_above_it_or_above_its_group(role: Path) -> None:
    paragraphs = re.split(r"\n\s*\n", (role / "defaults" / "main.yml").read_text().removeprefix("---\n"))
    bare = []
    explained = False
    for paragraph in paragraphs:
        lines = paragraph.strip().splitlines()
        variables = [line.partition(":")[0] for line in lines if re.match(r"\w+:", line)]
        # A heading explains the paragraph below it.
        if variables and not (lines[0].startswith("#") or explained):
            bare += variables
        explained = not variables and lines[-1].startswith("## ")
    assert bare == []


def uses(role: Path) -> str:
    """Return all of a role's text in which a variable can be used, without comments and definitions."""
    folders = ("defaults", "vars", "tasks", "handlers", "templates", "files")
    text = ""
    for path in sorted(path for folder in folders for path in (role / folder).rglob("*") if path.is_file()):
        if path.suffix == ".pyc":
            continue
        content = path.read_text()
        if path.suffix == ".yml":
            content = re.sub(r"^\s*#.*$", "", content, flags=re.M)
        if path.parent.name in ("defaults", "vars"):
            content = re.sub(r"^\w+:", "", content, flags=re.M)
        text += content
    return text


@every_role
def test_every_variable_is_used(role: Path) -> None:
    text = uses(role)
    names = [*options(role), *(load(role / "vars" / "main.yml") or {})]
    # The action plugins read those of flask_uwsgi as fields of a dataclass, and those of artifact by name.
    code = python()
    read = {f"flask_uwsgi_{field}" for field in re.findall(r"\b(?:s|self|settings)(?:\.|\[\")(\w+)", code + text)}
    read |= set(re.findall(r"\"(artifact_\w+)\"", code))
    assert [name for name in names if not re.search(rf"\b{name}\b", text) and name not in read] == []


def python() -> str:
    """Return the code of the action plugins and of what they import."""
    rooms = [ROOT / "plugins" / folder for folder in ("action", "plugin_utils/plan", "plugin_utils/settings")]
    return "".join(path.read_text() for folder in rooms for path in folder.glob("*.py"))


def test_no_code_reads_a_private_name_of_a_role() -> None:
    private = re.compile(r"__(?:flask_uwsgi|artifact|compare|loadtest)_\w+")
    files = (ROOT / "plugins").rglob("*.py")
    assert {str(path): found for path in files if (found := private.findall(path.read_text()))} == {}


@every_role
def test_every_used_variable_of_the_role_is_defined(role: Path) -> None:
    known = {*options(role), *(load(role / "vars" / "main.yml") or {})}
    for task in tasks(role):
        known |= {str(task["register"])} if "register" in task else set()
        known |= (task.get("ansible.builtin.set_fact") or {}).keys()
        known |= (task.get("vars") or {}).keys()
        known |= {str((task.get("loop_control") or {}).get("loop_var", "item"))}
    used = set(re.findall(rf"(?<![\w.'/])(?:__)?{role.name}_\w+", uses(role)))
    files = {path.name.partition(".")[0] for path in role.rglob("*")}
    assert sorted(used - known - files - filters()) == []


def filters() -> set[str]:
    """Return the names of the collection's plugins, some of which begin like a role."""
    text = "".join(path.read_text() for path in (ROOT / "plugins" / "filter").glob("*.py"))
    return set(re.findall(r'"(\w+)": ', text))
