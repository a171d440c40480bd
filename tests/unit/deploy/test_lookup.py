"""The lookup as Ansible loads it, in a process of its own: its loader changes how Python imports."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.loadtest.conftest import ROOT

HASH = "--hash=sha256:" + "a" * 64
PLATFORM = "debian-12-x86_64-py3.11"
LookUp = Callable[..., list[Any]]

# Looks up as often as there are sets of options, and prints what came.
LOOK_UP = """
import json, sys
from ansible.plugins.loader import init_plugin_loader, lookup_loader
init_plugin_loader([sys.argv[1]])
lookup = lookup_loader.get("flaskops.uwsgi.artifact")
print(json.dumps([lookup.run([], variables={}, **options) for options in json.load(sys.stdin)]))
"""


@pytest.fixture
def look_up(tmp_path: Path) -> LookUp:
    """Look up with each of several sets of options."""

    def run(*options: dict[str, Any]) -> list[Any]:
        configuration = tmp_path / "ansible.cfg"
        configuration.touch()
        done = subprocess.run(
            [sys.executable, "-c", LOOK_UP, str(ROOT / ".collections")],
            input=json.dumps(options),
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "ANSIBLE_CONFIG": str(configuration)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[Any] = json.loads(done.stdout)
        return found

    return run


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Write a small application with its locks."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "run.py").write_text("app = print\n")
    (source / "run.pyc").write_text("")
    locks = {
        "lock": f"flask==3.1.3 {HASH}\ngevent==1.0 {HASH}\n",
        "server_lock": f"uwsgi==2.0.31 \\\n    {HASH}\ngevent==26.9.0 {HASH}\n",
        "build_lock": f"pip==26.3 {HASH}\n",
    }
    for name, text in locks.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return {
        "source": str(source),
        **{name: str(tmp_path / f"{name}.txt") for name in locks},
        "platform": PLATFORM,
        "exclude": ["*.pyc"],
        "cache": str(tmp_path / "cache" / "artifacts"),
    }


def test_an_artifact_is_named_and_its_code_packed_once(look_up: LookUp, options: dict[str, Any]) -> None:
    (first,) = look_up(options)
    packed = Path(first[0]["code"]["path"]).stat().st_ino
    second, other_platform = look_up(options, {**options, "platform": "debian-13-x86_64-py3.13"})
    assert first == second and len(first) == 1
    assert Path(first[0]["code"]["path"]).stat().st_ino == packed
    plan, other = first[0], other_platform[0]
    cache = Path(options["cache"])
    code, wheels = plan["code"], plan["wheelhouse"]
    assert plan["platform"] == PLATFORM
    assert code["file"] == f"code-{code['id']}.tar.gz" == Path(code["path"]).name
    assert sorted(path.name for path in cache.iterdir()) == [code["file"], code["file"] + ".json"]
    assert len(code["sha256"]) == 64
    assert wheels["path"] == str(cache / f"wheelhouse-{wheels['id']}.tar")
    assert wheels["built"] is False and "sha256" not in wheels
    assert wheels["requirements"] == {
        "application": f"flask==3.1.3 {HASH}\ngevent==1.0 {HASH}\n",
        # The application's own gevent wins.
        "server": f"uwsgi==2.0.31 {HASH}\n",
    }
    assert other["code"] == code
    assert other["wheelhouse"]["id"] != wheels["id"] and other["id"] != plan["id"]


def test_wheels_in_the_cache_are_found(look_up: LookUp, options: dict[str, Any]) -> None:
    plan = look_up(options)[0][0]
    archive = Path(plan["wheelhouse"]["path"])
    archive.write_bytes(b"wheels")
    record = {"file": archive.name, "sha256": "9e7c3d8b9fbd4e0c3a" + "0" * 46}
    archive.with_name(archive.name + ".json").write_text(json.dumps(record))
    damaged = look_up(options)[0][0]
    assert list(damaged) == ["problem"]
    assert f"artifact {archive} is damaged" in damaged["problem"]
    archive.with_name(archive.name + ".json").unlink()
    archive.unlink()
    assert look_up(options)[0][0]["wheelhouse"]["built"] is False


def test_what_cannot_become_an_artifact_is_told_and_not_raised(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    bare = tmp_path / "bare.txt"
    bare.write_text("flask\n")
    problems = look_up(
        {**options, "source": "/nonexistent"},
        {**options, "lock": str(bare)},
        {**options, "server_lock": str(bare)},
        {**options, "build_lock": "/nonexistent"},
        {**options, "exclude": ["*"]},
    )
    starts = (
        "flask_uwsgi_source=/nonexistent is not a directory",
        f"flask_uwsgi_requirements={bare} is not a lock",
        f"artifact_server_lock={bare} is not a lock",
        "artifact_build_lock=/nonexistent does not exist",
        f"flask_uwsgi_source={options['source']} holds no file",
    )
    for (problem,), start in zip(problems, starts, strict=True):
        assert list(problem) == ["problem"] and problem["problem"].startswith(start)


# Secrets.


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"flask_uwsgi_secrets": {"A": "hidden-1", "B": "{{ other }}", "C": 1}, "other": "hidden-2"}, []),
        ({"flask_uwsgi_secrets": "{{ {'A': 'hidden-1'} | combine(other) }}", "other": {"B": "hidden-2"}}, []),
        (
            {"flask_uwsgi_secrets": {"A": "hidden-1", "B": "{{ vault_b }}", "C": "{{ 'hidden-2' ~ vault_c.d }}"}},
            ["has 'B', which cannot be known: vault_b is", "has 'C', which cannot be known: vault_c is"],
        ),
        ({"flask_uwsgi_secrets": "{{ nothing }}"}, ["cannot be known: nothing is"]),
        ({"flask_uwsgi_secrets": "{{ {'A': 'hidden-1', 'B': vault_b} }}"}, ["cannot be known: vault_b is"]),
        ({"flask_uwsgi_secrets": {"B": "{{ lookup('ansible.builtin.file', 'hidden-1') }}"}}, ["its lookup or its"]),
    ],
)
def test_secrets_that_cannot_be_known_are_told_and_no_value_is(
    tmp_path: Path, variables: dict[str, Any], told: list[str]
) -> None:
    query = json.dumps({"msg": "{{ query('flaskops.uwsgi.unknown_secrets') }}"})
    done = subprocess.run(
        ["ansible", "localhost", "-vvv", "-m", "ansible.builtin.debug", "-a", query, "-e", json.dumps(variables)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("=> {") + 3 :])["msg"]
    assert len(found) == len(told) and all(word in problem for word, problem in zip(told, found, strict=True)), found
    assert "hidden" not in done.stdout + done.stderr
