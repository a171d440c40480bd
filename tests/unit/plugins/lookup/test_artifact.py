"""The lookup as Ansible loads it, in a process of its own: its loader changes how Python imports."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.unit.plugins.plugin_utils.source.test_wheelhouse import wheel

HASH = "--hash=sha256:" + "a" * 64
PLATFORM = "debian-12-x86_64-py3.11"
LookUp = Callable[..., list[Any]]

# For each line, sets of options, it prints a line with what came of each.
LOOK_UP = """
import json, sys
from ansible.plugins.loader import init_plugin_loader, lookup_loader
init_plugin_loader([sys.argv[1]])
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import planning
# Each question is a run of its own.
planning.once = lambda cache, key, work: work()
lookup = lookup_loader.get("flaskops.uwsgi.artifact")
for line in sys.stdin:
    print(json.dumps([lookup.run([], variables={}, **options) for options in json.loads(line)]), flush=True)
"""


@pytest.fixture(scope="module")
def look_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LookUp]:
    """Look up with each of several sets of options."""
    folder = tmp_path_factory.mktemp("ansible")
    (folder / "ansible.cfg").touch()
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", LOOK_UP, str(ROOT / ".collections")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
        ) as process,
    ):
        questions, answers = process.stdin, process.stdout
        assert questions and answers

        def run(*options: dict[str, Any]) -> list[Any]:
            questions.write(json.dumps(options) + "\n")
            questions.flush()
            answer = answers.readline()
            assert answer, (folder / "errors").read_text()
            found: list[Any] = json.loads(answer)
            return found

        yield run
        questions.close()


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Write a small application with its locks."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "run.py").write_text("app = print\n")
    (source / "run.pyc").write_text("")
    locks = {
        "app/requirements": f"flask==3.1.3 {HASH}\ngevent==1.0 {HASH}\n",
        "server_lock": f"uwsgi==2.0.31 \\\n    {HASH}\ngevent==26.9.0 {HASH}\n",
        "build_lock": f"pip==26.3 {HASH}\n",
    }
    for name, text in locks.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return {
        "source": str(source),
        **{name: str(tmp_path / f"{name}.txt") for name in locks if "/" not in name},
        "platform": PLATFORM,
        "exclude": ["*.pyc"],
        "patches": str(tmp_path / "patches"),
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
    assert plan["platform"] == PLATFORM and plan["source"] == {"kind": "folder"} and plan["locked"] == {}
    assert code["file"] == f"code-{code['id']}.tar.gz" == Path(code["path"]).name
    assert sorted(path.name for path in cache.iterdir()) == [code["file"], code["file"] + ".json"]
    assert len(code["sha256"]) == len(plan["digest"]) == len(wheels["digest"]) == len(code["inputs"]) == 64
    assert [whole[:12] for whole in (plan["digest"], wheels["digest"], code["inputs"])] == [
        found["id"] for found in (plan, wheels, code)
    ]
    assert code["unpacked"] == sum(len(text) for text in names(plan).values())
    assert wheels["path"] == str(cache / f"wheelhouse-{wheels['id']}.tar")
    assert wheels["built"] is False and "sha256" not in wheels
    assert wheels["requirements"] == {
        "application": f"flask==3.1.3 \\\n    {HASH}\n",
        "server": f"uwsgi==2.0.31 \\\n    {HASH}\ngevent==26.9.0 \\\n    {HASH}\n",
    }
    assert [note.partition(":")[0] for note in plan["notes"]] == [
        "gevent 26.9.0 of artifact_server_lock is installed, although the requirements say gevent==1.0"
    ]
    assert (wheels["project"], plan["project"], plan["python_path"]) == ("", "", [])
    assert wheels["distribution"] == "" and plan["left_out"] == {}
    assert other["code"] == code
    assert other["wheelhouse"]["id"] != wheels["id"] and other["id"] != plan["id"]


def test_wheels_in_the_cache_are_found(look_up: LookUp, options: dict[str, Any]) -> None:
    plan = look_up(options)[0][0]
    archive = Path(plan["wheelhouse"]["path"])
    archive.write_bytes(b"wheels")
    record = {"file": archive.name, "sha256": "9e7c3d8b9fbd4e0c3a" + "0" * 46, "inputs": "e" * 64}
    beside = archive.with_name(archive.name + ".json")
    beside.write_text(json.dumps(record))
    # A twin: made from something else, and of the same short id.
    assert look_up(options)[0][0]["wheelhouse"]["built"] is False
    beside.write_text(json.dumps({**record, "inputs": plan["wheelhouse"]["digest"]}))
    damaged = look_up(options)[0][0]
    assert list(damaged) == ["problem"]
    assert f"artifact {archive} is damaged" in damaged["problem"]
    beside.unlink()
    archive.unlink()
    assert look_up(options)[0][0]["wheelhouse"]["built"] is False


def test_what_cannot_become_an_artifact_is_told_and_not_raised(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    bare = tmp_path / "bare.txt"
    bare.write_text("flask\n")
    problems = look_up(
        {**options, "source": "/nonexistent"},
        {**options, "requirements": "none.txt"},
        {**options, "wsgi_file": "wsgi.py"},
        {**options, "server_lock": str(bare)},
        {**options, "build_lock": "/nonexistent"},
        {**options, "exclude": ["*"]},
    )
    starts = (
        "flask_uwsgi_source=/nonexistent is not a directory",
        "flask_uwsgi_requirements=none.txt does not exist",
        f"flask_uwsgi_wsgi_file=wsgi.py does not exist in flask_uwsgi_source={options['source']}: set it to the file",
        f"artifact_server_lock={bare} is not a lock",
        "artifact_build_lock=/nonexistent does not exist",
        f"flask_uwsgi_source={options['source']} holds no file",
    )
    for (problem,), start in zip(problems, starts, strict=True):
        assert list(problem) == ["problem"] and problem["problem"].startswith(start)


def names(plan: dict[str, Any]) -> dict[str, str]:
    """Return the files of a plan's code with their contents."""
    with tarfile.open(plan["code"]["path"]) as tar:
        return {member.name: (tar.extractfile(member) or io.BytesIO()).read().decode() for member in tar}


def test_every_release_tells_what_is_installed_for_it(look_up: LookUp, options: dict[str, Any]) -> None:
    plan = look_up(options)[0][0]
    installed = plan["wheelhouse"]["requirements"]
    assert names(plan)["requirements.lock"] == installed["application"] + installed["server"]
    (Path(options["source"]) / "requirements.lock").write_text("its own\n")
    other = look_up(options)[0][0]
    assert names(other)["requirements.lock"] == "its own\n"
    assert other["code"]["id"] != plan["code"]["id"] and other["wheelhouse"] == plan["wheelhouse"]


def test_a_distribution_is_built_besides_and_has_no_code(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    shop = wheel(tmp_path, "shop", version="1.4")
    lock = str(tmp_path / "app" / "requirements.txt")
    wanted = {**options, "source": str(shop), "requirements": lock}
    plan = look_up(wanted)[0][0]
    assert list(names(plan)) == ["requirements.lock"]
    assert plan["wheelhouse"]["distribution"] == str(shop)
    checksum = hashlib.sha256(shop.read_bytes()).hexdigest()
    assert plan["source"] == {"kind": "distribution", "file": shop.name, "sha256": checksum}
    wheel(tmp_path, "shop", {"shop/more.py": ""}, version="1.4")
    other = look_up(wanted)[0][0]
    assert other["code"] == plan["code"] and other["wheelhouse"]["id"] != plan["wheelhouse"]["id"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"shop.data/scripts/uwsgi": "#!/bin/sh\n"},
            "shop-1.4-py3-none-any.whl installs 'bin/uwsgi', which ",
        ),
        ({"../x.py": ""}, "shop-1.4-py3-none-any.whl holds '../x.py', which leads out of its folder"),
        (None, "shop-1.4-py3-none-any.whl cannot be read: File is not a zip file"),
    ],
)
def test_a_wheel_that_may_not_be_installed_is_refused_before_anything_is_built(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path, content: dict[str, str | bytes] | None, told: str
) -> None:
    shop = wheel(tmp_path, "shop", content, version="1.4")
    if content is None:
        shop.write_bytes(b"no zip")
    problem = look_up({**options, "source": str(shop)})[0][0]["problem"]
    assert problem.startswith(f"flask_uwsgi_source={shop} is not safe to install:\n  - {told}")


def test_a_package_is_its_entry_in_the_lock(look_up: LookUp, options: dict[str, Any], tmp_path: Path) -> None:
    lock = str(tmp_path / "app" / "requirements.txt")
    plan = look_up({**options, "source": "Flask == 3.1.3", "requirements": lock})[0][0]
    assert list(names(plan)) == ["requirements.lock"]
    assert plan["source"] == {"kind": "package", "package": "Flask==3.1.3"}


def test_a_commit_is_the_same_artifact_as_the_folder_that_it_holds(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    source = Path(options["source"])
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q", "-b", "main", "."], ["add", "app"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    address = f"git+{tmp_path.as_uri()}@main#subdirectory=app"
    plan, wrong, folder = look_up(
        {**options, "source": address, "wsgi_file": "run.py"},
        {**options, "source": address, "wsgi_file": "wsgi.py"},
        {**options, "source": str(source)},
    )
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert plan[0]["source"] == {"kind": "git", "commit": head.stdout.strip()}
    assert plan[0]["id"] == folder[0]["id"]
    assert wrong[0]["problem"].startswith(
        f"flask_uwsgi_wsgi_file=wsgi.py does not exist in flask_uwsgi_source={address}"
    )


def test_other_build_packages_give_other_wheels(look_up: LookUp, options: dict[str, Any]) -> None:
    plain, one, two, same = look_up(
        options,
        {**options, "build_packages": ["libpq-dev"]},
        {**options, "build_packages": ["libpq-dev", "g++"]},
        {**options, "build_packages": ["g++", "libpq-dev"]},
    )
    ids = [plan[0]["wheelhouse"]["id"] for plan in (plain, one, two, same)]
    assert len(set(ids)) == 3 and ids[2] == ids[3]
    assert one[0]["code"] == plain[0]["code"]


def test_a_lock_that_is_made_is_told_and_stays(look_up: LookUp, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "requirements.txt").unlink()
    (tmp_path / "app" / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'
    )
    (tmp_path / "app" / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n'
        '[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\n'
    )
    first, second = look_up(options, options)
    assert first == second
    locked = first[0]["locked"]
    assert locked["from"] == "uv.lock" and locked["packages"] == 0
    assert Path(locked["path"]).read_text() == f"# Made from uv.lock for {PLATFORM}.\n"


def test_what_a_hostile_branch_left_in_the_cache_is_not_taken(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    good = look_up(options)[0][0]
    # As if its short id were the good one's.
    (Path(options["source"]) / "run.py").write_text("import evil\n")
    evil = look_up({**options, "cache": str(tmp_path / "other")})[0][0]
    for suffix in ("", ".json"):
        text = Path(evil["code"]["path"] + suffix).read_bytes()
        Path(good["code"]["path"] + suffix).write_bytes(
            text.replace(evil["code"]["id"].encode(), good["code"]["id"].encode())
        )
    assert names(good)["run.py"] == "import evil\n"
    (Path(options["source"]) / "run.py").write_text("app = print\n")
    again = look_up(options)[0][0]
    assert again == good
    assert names(again)["run.py"] == "app = print\n"


def test_nothing_of_a_source_is_read_before_its_links_are_judged(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "vault").write_text("hunter2\n")
    (tmp_path / "app" / "requirements.txt").unlink()
    (tmp_path / "app" / "requirements.txt").symlink_to(tmp_path / "vault")
    problem = look_up(options)[0][0]["problem"]
    assert "holds 'requirements.txt', a link to " in problem and "hunter2" not in problem


def test_patches_are_part_of_the_wheels(look_up: LookUp, options: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "patches" / "uWSGI-2.0.31"
    folder.mkdir(parents=True)
    plain = look_up(options)[0][0]
    (folder / "01-first.patch").write_text("--- a/x\n+++ b/x\n")
    (folder / "README.md").write_text("No patch.\n")
    patched, unpatched = look_up(options, {**options, "patches": str(tmp_path)})
    wheels = patched[0]["wheelhouse"]
    assert plain["wheelhouse"]["patches"] == {} and unpatched[0]["wheelhouse"] == plain["wheelhouse"]
    assert wheels["patches"] == {"uwsgi-2.0.31": {"01-first.patch": "--- a/x\n+++ b/x\n"}}
    assert wheels["id"] != plain["wheelhouse"]["id"] and patched[0]["code"] == plain["code"]
    (folder / "01-first.patch").write_text("--- a/y\n+++ b/y\n")
    assert look_up(options)[0][0]["wheelhouse"]["id"] != wheels["id"]
    # Another version of what is patched would lack what the patches mend.
    (tmp_path / "app" / "requirements.txt").write_text(f"uWSGI==2.0.30 {HASH}\n")
    assert look_up(options)[0][0]["wheelhouse"]["patches"]["uwsgi-2.0.31"]
    (tmp_path / "server_lock.txt").write_text(f"uWSGI==2.0.30 {HASH}\n")
    assert look_up(options)[0][0]["problem"] == (
        "artifact_server_lock pins uwsgi==2.0.30, but the patches that the role depends on are for 2.0.31: pin "
        "uwsgi==2.0.31 there"
    )


def test_build_tools_are_part_of_the_wheels_and_uv_is_not(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    plain = look_up(options)[0][0]["wheelhouse"]
    (tmp_path / "build_lock.txt").write_text(f"pip==26.3 {HASH}\nuv==0.13.9 {HASH}\n")
    assert look_up(options)[0][0]["wheelhouse"] == plain
    (tmp_path / "build_lock.txt").write_text(f"pip==26.3 {HASH}\nhatchling==1.33.0 {HASH}\n")
    assert look_up(options)[0][0]["wheelhouse"]["id"] != plain["id"]


@pytest.mark.parametrize("value", [0, -1, "many", "1.5", ""])
def test_a_limit_of_builds_is_a_number_above_0(look_up: LookUp, options: dict[str, Any], value: Any) -> None:
    told = look_up({**options, "limits": {"artifact_build_tasks": value}})[0][0]
    assert told == {"problem": f"artifact_build_tasks={value} is no whole number above 0: set it to one"}


def test_a_project_that_a_build_host_has_to_read_is_packed_for_it(
    look_up: LookUp, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "app" / "requirements.txt").unlink()
    (tmp_path / "app" / "pyproject.toml").write_text('[project]\nname = "a"\ndynamic = ["dependencies"]\n')
    plan = look_up(options)[0][0]
    assert plan.keys() == {"resolution", "ignored"}
    left = plan["resolution"]
    assert left["project"] == "pyproject.toml" and left["made_from"] == "pyproject.toml"
    with tarfile.open(left["archive"]) as tar:
        assert sorted(tar.getnames()) == ["pyproject.toml", "run.py"]
    # Whatever of it changes may change what it requires.
    (tmp_path / "app" / "run.py").write_text("changed\n")
    assert look_up(options)[0][0]["resolution"]["path"] != left["path"]


# What a folder installs.

BUILT = '[project]\nname = "My.Shop"\nversion = "1"\n[build-system]\nrequires = ["setuptools"]\n'


def test_a_project_is_built_of_what_is_deployed_of_it(look_up: LookUp, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "src" / "shop").mkdir(parents=True)
    (tmp_path / "app" / "src" / "shop" / "__init__.py").touch()
    (bare,) = look_up(options)
    assert (bare[0]["project"], bare[0]["python_path"], bare[0]["wheelhouse"]["distribution"]) == ("", ["src"], "")
    (tmp_path / "app" / "pyproject.toml").write_text(BUILT)
    plan, folder = (found[0] for found in look_up(options, {**options, "install": False}))
    assert (plan["project"], plan["python_path"]) == ("my-shop", [])
    assert (plan["wheelhouse"]["project"], plan["wheelhouse"]["distribution"]) == ("my-shop", plan["code"]["path"])
    assert {"run.py", "src/shop/__init__.py", "pyproject.toml"} < set(names(plan))
    assert (folder["project"], folder["python_path"], folder["wheelhouse"]["distribution"]) == ("", ["src"], "")
    assert folder["code"] == plan["code"] and folder["wheelhouse"]["id"] != plan["wheelhouse"]["id"]
    # Whatever changes of it may change what is installed.
    (tmp_path / "app" / "run.py").write_text("app = repr\n")
    assert look_up(options)[0][0]["wheelhouse"]["id"] != plan["wheelhouse"]["id"]


def test_a_project_among_its_own_requirements_is_told(look_up: LookUp, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "pyproject.toml").write_text(BUILT.replace("My.Shop", "Flask"))
    assert look_up(options)[0][0]["problem"] == (
        "flask_uwsgi_requirements has flask, which flask_uwsgi_source is itself: remove that line"
    )


def test_a_project_must_be_for_the_host_s_python(look_up: LookUp, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "pyproject.toml").write_text(BUILT.replace("[build", 'requires-python = ">=3.13"\n[build'))
    old, new = look_up(options, {**options, "platform": "debian-13-x86_64-py3.13"})
    file = tmp_path / "app" / "pyproject.toml"
    assert old[0]["problem"].startswith(f"flask_uwsgi_source={file} has requires-python='>=3.13', but debian-12-")
    assert new[0]["project"] == "my-shop"


# Secrets.
