"""What artifact an application becomes."""

import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import building, planning
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Request
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import Resolution, Unresolved

from tests.unit.plugins.plugin_utils.source.test_wheelhouse import wheel

HASH = "--hash=sha256:" + "a" * 64
PLATFORM = "debian-12-x86_64-py3.11"


@pytest.fixture(autouse=True)
def every_question_is_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was asked before."""
    monkeypatch.setattr(planning, "once", lambda _cache, _key, work: work())


def plan_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return the artifact."""
    return asdict(planning.looked_up(Request(**options)))


def problem_of(options: dict[str, Any]) -> str:
    """Return why it cannot become an artifact."""
    with pytest.raises(ArtifactError) as refused:
        plan_of(options)
    return str(refused.value)


def resolution_of(options: dict[str, Any]) -> Resolution:
    """Return what has to be locked first."""
    with pytest.raises(Unresolved) as unresolved:
        plan_of(options)
    return unresolved.value.resolution


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


def test_code_that_changes_while_it_is_packed_is_never_taken_for_what_it_was(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, pack = Path(options["source"]) / "run.py", planning.art.pack_code

    def meanwhile(*arguments: Any) -> int:
        run.write_text("app = len\n")
        return pack(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(planning.art, "pack_code", meanwhile)
        assert "was changed while it was packed: deploy again" in problem_of(options)
    run.write_text("app = print\n")
    with tarfile.open(plan_of(options)["code"]["path"]) as archive:
        content = archive.extractfile("run.py")
        assert content and content.read() == b"app = print\n"


def test_an_artifact_is_named_and_its_code_packed_once(options: dict[str, Any]) -> None:
    plan = plan_of(options)
    packed = Path(plan["code"]["path"]).stat().st_ino
    assert plan == plan_of(options)
    assert Path(plan["code"]["path"]).stat().st_ino == packed
    other = plan_of({**options, "platform": "debian-13-x86_64-py3.13"})
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


def test_wheels_in_the_cache_are_found(options: dict[str, Any]) -> None:
    plan = plan_of(options)
    archive = Path(plan["wheelhouse"]["path"])
    archive.write_bytes(b"wheels")
    record = {"file": archive.name, "sha256": "9e7c3d8b9fbd4e0c3a" + "0" * 46, "inputs": "e" * 64}
    beside = archive.with_name(archive.name + ".json")
    beside.write_text(json.dumps(record))
    # A twin: made from something else, and of the same short id.
    assert plan_of(options)["wheelhouse"]["built"] is False
    beside.write_text(json.dumps({**record, "inputs": plan["wheelhouse"]["digest"]}))
    assert f"artifact {archive} is damaged" in problem_of(options)
    beside.unlink()
    archive.unlink()
    assert plan_of(options)["wheelhouse"]["built"] is False


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"source": "/nonexistent"}, "flask_uwsgi_source=/nonexistent is not a directory"),
        ({"requirements": "none.txt"}, "flask_uwsgi_requirements=none.txt does not exist"),
        (
            {"wsgi_file": "wsgi.py"},
            "flask_uwsgi_wsgi_file=wsgi.py does not exist in flask_uwsgi_source=FOLDER/app: set it to the file",
        ),
        ({"server_lock": "FOLDER/bare.txt"}, "artifact_server_lock=FOLDER/bare.txt is not a lock"),
        ({"build_lock": "/nonexistent"}, "artifact_build_lock=/nonexistent does not exist"),
        ({"exclude": ["*"]}, "flask_uwsgi_source=FOLDER/app holds no file"),
    ],
)
def test_a_request_that_cannot_be_fulfilled_is_refused(
    options: dict[str, Any], tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    (tmp_path / "bare.txt").write_text("flask\n")
    asked = {
        name: str(tmp_path / value[7:]) if str(value).startswith("FOLDER/") else value
        for name, value in changed.items()
    }
    assert problem_of({**options, **asked}).startswith(problem.replace("FOLDER", str(tmp_path)))


def names(plan: dict[str, Any]) -> dict[str, str]:
    """Return the files of a plan's code with their contents."""
    with tarfile.open(plan["code"]["path"]) as tar:
        return {member.name: (tar.extractfile(member) or io.BytesIO()).read().decode() for member in tar}


def test_every_release_lists_what_is_installed_for_it(options: dict[str, Any]) -> None:
    plan = plan_of(options)
    installed = plan["wheelhouse"]["requirements"]
    assert names(plan)["requirements.lock"] == installed["application"] + installed["server"]
    (Path(options["source"]) / "requirements.lock").write_text("its own\n")
    other = plan_of(options)
    assert names(other)["requirements.lock"] == "its own\n"
    assert other["code"]["id"] != plan["code"]["id"] and other["wheelhouse"] == plan["wheelhouse"]


def test_a_distribution_is_built_besides_and_has_no_code(options: dict[str, Any], tmp_path: Path) -> None:
    shop = wheel(tmp_path, "shop", version="1.4")
    lock = str(tmp_path / "app" / "requirements.txt")
    wanted = {**options, "source": str(shop), "requirements": lock}
    plan = plan_of(wanted)
    assert list(names(plan)) == ["requirements.lock"]
    assert plan["wheelhouse"]["distribution"] == str(shop)
    checksum = hashlib.sha256(shop.read_bytes()).hexdigest()
    assert plan["source"] == {"kind": "distribution", "file": shop.name, "sha256": checksum}
    wheel(tmp_path, "shop", {"shop/more.py": ""}, version="1.4")
    other = plan_of(wanted)
    assert other["code"] == plan["code"] and other["wheelhouse"]["id"] != plan["wheelhouse"]["id"]


@pytest.mark.parametrize(
    ("content", "message"),
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
    options: dict[str, Any], tmp_path: Path, content: dict[str, str | bytes] | None, message: str
) -> None:
    shop = wheel(tmp_path, "shop", content, version="1.4")
    if content is None:
        shop.write_bytes(b"no zip")
    problem = problem_of({**options, "source": str(shop)})
    assert problem.startswith(f"flask_uwsgi_source={shop} is not safe to install:\n  - {message}")


def test_a_package_is_its_entry_in_the_lock(options: dict[str, Any], tmp_path: Path) -> None:
    lock = str(tmp_path / "app" / "requirements.txt")
    plan = plan_of({**options, "source": "Flask == 3.1.3", "requirements": lock})
    assert list(names(plan)) == ["requirements.lock"]
    assert plan["source"] == {"kind": "package", "package": "Flask==3.1.3"}


def test_a_commit_is_the_same_artifact_as_the_folder_that_it_holds(options: dict[str, Any], tmp_path: Path) -> None:
    source = Path(options["source"])
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q", "-b", "main", "."], ["add", "app"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    address = f"git+{tmp_path.as_uri()}@main#subdirectory=app"
    plan = plan_of({**options, "source": address, "wsgi_file": "run.py"})
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert plan["source"] == {"kind": "git", "commit": head.stdout.strip()}
    assert plan["id"] == plan_of({**options, "source": str(source)})["id"]
    assert problem_of({**options, "source": address, "wsgi_file": "wsgi.py"}).startswith(
        f"flask_uwsgi_wsgi_file=wsgi.py does not exist in flask_uwsgi_source={address}"
    )


def test_other_build_packages_give_other_wheels(options: dict[str, Any]) -> None:
    packages: list[list[str]] = [[], ["libpq-dev"], ["libpq-dev", "g++"], ["g++", "libpq-dev"]]
    plans = [plan_of({**options, "build_packages": names}) for names in packages]
    ids = [plan["wheelhouse"]["id"] for plan in plans]
    assert len(set(ids)) == 3 and ids[2] == ids[3]
    assert plans[0]["code"] == plans[1]["code"]


def test_a_lock_that_is_made_is_reported_and_stays(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "requirements.txt").unlink()
    (tmp_path / "app" / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'
    )
    (tmp_path / "app" / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n'
        '[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\n'
    )
    first = plan_of(options)
    assert first == plan_of(options)
    locked = first["locked"]
    assert locked["from"] == "uv.lock" and locked["packages"] == 0
    assert Path(locked["path"]).read_text() == f"# Made from uv.lock for {PLATFORM}.\n"


def test_what_a_hostile_branch_left_in_the_cache_is_not_taken(options: dict[str, Any], tmp_path: Path) -> None:
    good = plan_of(options)
    # As if its short id were the good one's.
    (Path(options["source"]) / "run.py").write_text("import evil\n")
    evil = plan_of({**options, "cache": str(tmp_path / "other")})
    for suffix in ("", ".json"):
        text = Path(evil["code"]["path"] + suffix).read_bytes()
        Path(good["code"]["path"] + suffix).write_bytes(
            text.replace(evil["code"]["id"].encode(), good["code"]["id"].encode())
        )
    assert names(good)["run.py"] == "import evil\n"
    (Path(options["source"]) / "run.py").write_text("app = print\n")
    again = plan_of(options)
    assert again == good
    assert names(again)["run.py"] == "app = print\n"


def test_nothing_of_a_source_is_read_before_its_links_are_judged(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("hunter2\n")
    (tmp_path / "app" / "requirements.txt").unlink()
    (tmp_path / "app" / "requirements.txt").symlink_to(tmp_path / "vault")
    problem = problem_of(options)
    assert "holds 'requirements.txt', a link to " in problem and "hunter2" not in problem


def test_patches_are_part_of_the_wheels(options: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "patches" / "uWSGI-2.0.31"
    folder.mkdir(parents=True)
    plain = plan_of(options)
    (folder / "01-first.patch").write_text("--- a/x\n+++ b/x\n")
    (folder / "README.md").write_text("No patch.\n")
    patched, unpatched = plan_of(options), plan_of({**options, "patches": str(tmp_path)})
    wheels = patched["wheelhouse"]
    assert plain["wheelhouse"]["patches"] == {} and unpatched["wheelhouse"] == plain["wheelhouse"]
    assert wheels["patches"] == {"uwsgi-2.0.31": {"01-first.patch": "--- a/x\n+++ b/x\n"}}
    assert wheels["id"] != plain["wheelhouse"]["id"] and patched["code"] == plain["code"]
    (folder / "01-first.patch").write_text("--- a/y\n+++ b/y\n")
    assert plan_of(options)["wheelhouse"]["id"] != wheels["id"]
    assert plan_of({**options, "patches": ""})["wheelhouse"] == plain["wheelhouse"]
    # Another version of what is patched would lack what the patches mend.
    (tmp_path / "app" / "requirements.txt").write_text(f"uWSGI==2.0.30 {HASH}\n")
    assert plan_of(options)["wheelhouse"]["patches"]["uwsgi-2.0.31"]
    (tmp_path / "server_lock.txt").write_text(f"uWSGI==2.0.30 {HASH}\n")
    assert problem_of(options) == (
        "artifact_server_lock pins uwsgi==2.0.30, but the patches that the role depends on are for 2.0.31: pin "
        "uwsgi==2.0.31 there"
    )


def test_build_tools_are_part_of_the_wheels_and_uv_is_not(options: dict[str, Any], tmp_path: Path) -> None:
    plain = plan_of(options)["wheelhouse"]
    (tmp_path / "build_lock.txt").write_text(f"pip==26.3 {HASH}\nuv==0.13.9 {HASH}\n")
    assert plan_of(options)["wheelhouse"] == plain
    (tmp_path / "build_lock.txt").write_text(f"pip==26.3 {HASH}\nhatchling==1.33.0 {HASH}\n")
    assert plan_of(options)["wheelhouse"]["id"] != plain["id"]


@pytest.mark.parametrize("value", [0, -1, "many", "1.5", ""])
def test_a_limit_of_builds_is_a_number_above_0(options: dict[str, Any], value: Any) -> None:
    problem = problem_of({**options, "limits": {"artifact_build_tasks": value}})
    assert problem == f"artifact_build_tasks={value} is no whole number above 0: set it to one"


def test_a_project_that_a_build_host_has_to_read_is_packed_for_it(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "requirements.txt").unlink()
    (tmp_path / "app" / "pyproject.toml").write_text('[project]\nname = "a"\ndynamic = ["dependencies"]\n')
    left = resolution_of(options)
    assert left.project == "pyproject.toml" and left.made_from == "pyproject.toml"
    archive = building.archive_of(Request(**options), left)
    assert archive
    with tarfile.open(archive) as tar:
        assert sorted(tar.getnames()) == ["pyproject.toml", "run.py"]
    # Whatever of it changes may change what it requires.
    (tmp_path / "app" / "run.py").write_text("changed\n")
    assert resolution_of(options).path != left.path


# What a folder installs.

BUILT = '[project]\nname = "My.Shop"\nversion = "1"\n[build-system]\nrequires = ["setuptools"]\n'


def test_a_project_is_built_of_what_is_deployed_of_it(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "src" / "shop").mkdir(parents=True)
    (tmp_path / "app" / "src" / "shop" / "__init__.py").touch()
    bare = plan_of(options)
    assert (bare["project"], bare["python_path"], bare["wheelhouse"]["distribution"]) == ("", ["src"], "")
    (tmp_path / "app" / "pyproject.toml").write_text(BUILT)
    plan, folder = plan_of(options), plan_of({**options, "install": False})
    assert (plan["project"], plan["python_path"]) == ("my-shop", [])
    assert (plan["wheelhouse"]["project"], plan["wheelhouse"]["distribution"]) == ("my-shop", plan["code"]["path"])
    assert {"run.py", "src/shop/__init__.py", "pyproject.toml"} < set(names(plan))
    assert (folder["project"], folder["python_path"], folder["wheelhouse"]["distribution"]) == ("", ["src"], "")
    assert folder["code"] == plan["code"] and folder["wheelhouse"]["id"] != plan["wheelhouse"]["id"]
    # Whatever changes of it may change what is installed.
    (tmp_path / "app" / "run.py").write_text("app = repr\n")
    assert plan_of(options)["wheelhouse"]["id"] != plan["wheelhouse"]["id"]


def test_a_project_among_its_own_requirements_is_reported(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "pyproject.toml").write_text(BUILT.replace("My.Shop", "Flask"))
    assert problem_of(options) == (
        "flask_uwsgi_requirements has flask, which flask_uwsgi_source is itself: remove that line"
    )


def test_a_project_must_be_for_the_host_s_python(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app" / "pyproject.toml").write_text(BUILT.replace("[build", 'requires-python = ">=3.13"\n[build'))
    file = tmp_path / "app" / "pyproject.toml"
    assert problem_of(options).startswith(f"flask_uwsgi_source={file} has requires-python='>=3.13', but debian-12-")
    assert plan_of({**options, "platform": "debian-13-x86_64-py3.13"})["project"] == "my-shop"
