"""The locks that uv makes, from a registry of a few wheels in a folder: no network is needed."""

import codecs
import hashlib
import io
import os
import shutil
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError, loose, requirements
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import requirement_files
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import uv as uv_module
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import (
    Lock,
    Resolution,
    Unresolved,
    lock_of,
)
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.folder import Distribution, Folder, Package, Source

PLATFORM = "debian-13-x86_64-py3.13"
HASH = "--hash=sha256:" + "a" * 64
SERVER = "".join(f"{pin} \\\n    {HASH}\n" for pin in ("gevent==2.0", "greenlet==3.0", "uwsgi==2.0.31"))

LockOf = Callable[..., Lock]


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """Write a wheel that holds nothing but what it requires."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a registry (PEP 503), and let uv know no other."""
    simple = tmp_path / "registry"
    for name, version, *requires in (
        ("flask", "3.0", "click>=8"),
        ("flask", "3.1", "click>=8"),
        ("click", "8.0"),
        ("click", "8.1"),
        ("gevent", "1.0", "greenlet"),
        ("gevent", "2.0", "greenlet>=3"),
        ("gevent", "2.1", "greenlet>=3"),
        ("greenlet", "2.0"),
        ("greenlet", "3.0"),
        ("greenlet", "3.1"),
        ("win", "1.0"),
        ("bin", "1.0", "flask==3.0", "greenlet<3.0; python_version >= '3.9'"),
    ):
        (simple / name).mkdir(parents=True, exist_ok=True)
        path = wheel(simple / name, name, version, *requires)
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        with (simple / name / "index.html").open("a") as page:
            page.write(f'<a href="{path.name}#sha256={checksum}">{path.name}</a>\n')
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_DEFAULT_INDEX", simple.as_uri())
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return simple


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Make an application without requirements."""
    (tmp_path / "app").mkdir()
    return tmp_path / "app"


@pytest.fixture
def locked(tmp_path: Path) -> LockOf:
    """Lock what a source requires."""
    (tmp_path / "server.txt").write_text(SERVER)
    (tmp_path / "cache").mkdir()

    def run(
        source: Source | Path, given: str = "", platform: str = PLATFORM, code: Sequence[Path] = (), built: bool = False
    ) -> Lock:
        folder = source if isinstance(source, Path) else None
        wanted = source if not isinstance(source, Path) else Folder(source)
        server = list(requirements((tmp_path / "server.txt").read_text()))
        return lock_of(wanted, folder, given, server, platform, tmp_path / "cache", code, built)

    return run


def pins(lock: Lock) -> dict[str, str]:
    assert not loose(lock.entries)
    return {entry.name: entry.text.split("==")[1].split()[0] for entry in lock.entries}


def problem(run: Callable[[], Lock]) -> str:
    with pytest.raises(ArtifactError) as caught:
        run()
    return str(caught.value)


# What needs no lock to be made.


UNSAID = (
    "flask_uwsgi_source has no requirements.txt and no project that lists its requirements: only uWSGI and gevent "
    "are installed for it"
)


def test_an_application_without_requirements_needs_the_server_alone(app: Path, locked: LockOf) -> None:
    assert locked(app) == Lock([], notes=[UNSAID])
    (app / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert locked(app, built=True) == Lock([], notes=[UNSAID])


def test_lists_of_requirements_that_are_not_taken_by_themselves_are_named(app: Path, locked: LockOf) -> None:
    code = [Path(name) for name in ("requirements/prod.txt", "requirements-dev.txt", "robots.txt", "docs/notes.txt")]
    assert locked(app, code=code).notes == [
        f"{UNSAID}; set flask_uwsgi_requirements to one of requirements/prod.txt, requirements-dev.txt"
    ]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Pipfile", "run `pipenv requirements --hash >requirements.txt` there"),
        ("environment.yml", "list the packages that it installs from conda in a requirements.txt"),
        ("pixi.toml", "list the packages that it installs from conda in a requirements.txt"),
    ],
)
def test_requirements_of_a_tool_that_is_not_read_are_refused(app: Path, locked: LockOf, name: str, remedy: str) -> None:
    (app / name).write_text("whatever")
    message = problem(lambda: locked(app))
    assert message.startswith(f"flask_uwsgi_source has {name}, which is not read, and no requirements.txt")
    assert remedy in message
    # Whoever has none says so with an empty one.
    (app / "requirements.txt").touch()
    assert locked(app) == Lock([])


@pytest.mark.parametrize(
    "files",
    [
        {"setup.py": "from setuptools import setup\nsetup(name='shop', install_requires=['flask'])\n"},
        {"setup.cfg": "[metadata]\nname = shop\n[options]\ninstall_requires =\n    flask\n"},
        {
            "pyproject.toml": "[build-system]\nrequires = ['setuptools']\n",
            "setup.cfg": "[metadata]\nname = shop\n[options]\ninstall_requires =\n    flask\n",
        },
    ],
)
def test_a_project_that_only_a_build_can_read_is_read_by_one(
    app: Path, locked: LockOf, files: dict[str, str], registry: Path
) -> None:
    for name, text in files.items():
        (app / name).write_text(text)
    code = [Path(name) for name in files]
    with pytest.raises(Unresolved) as caught:
        locked(app, code=code, built=True)
    found = caught.value.resolution
    assert (found.project, found.made_from) == (next(iter(files)), next(iter(files)))
    assert found.requirements.splitlines() == ["gevent"]
    # What a build host has made of it.
    found.path.write_text(f"flask==3.0 {HASH}\n")
    assert pins(locked(app, code=code, built=True)) == {"flask": "3.0"}
    # Without a build that is unknown.
    assert locked(app, code=code) == Lock([], notes=[UNSAID])
    # A list of its own is enough.
    (app / "requirements.txt").write_text(f"flask==3.1 {HASH}\n")
    assert pins(locked(app, code=code, built=True)) == {"flask": "3.1"}


def test_a_lock_is_taken_as_it_is(app: Path, locked: LockOf, tmp_path: Path) -> None:
    (app / "requirements.txt").write_text(f"flask==3.0 {HASH}\n")
    lock = locked(app)
    assert pins(lock) == {"flask": "3.0"} and lock.path is None and lock.made_from == ""
    (app / "deep").mkdir()
    (app / "deep" / "other.txt").write_text(f"click==8.0 {HASH}\n")
    for given in ("deep/other.txt", str(app / "deep" / "other.txt")):
        assert pins(locked(app, given)) == {"click": "8.0"}
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("given", ["none.txt", "/nonexistent/none.txt"])
def test_missing_requirements_are_reported(app: Path, locked: LockOf, given: str) -> None:
    assert problem(lambda: locked(app, given)).startswith(
        f"flask_uwsgi_requirements={given} does not exist on the controller"
    )


# What is locked.


@pytest.mark.usefixtures("registry")
def test_requirements_are_locked_with_the_server_s_versions_where_they_fit(app: Path, locked: LockOf) -> None:
    (app / "requirements.txt").write_text("flask<3.1\n-r more.txt\nwin; sys_platform == 'win32'\n")
    (app / "more.txt").write_text("greenlet\n")
    lock = locked(app)
    assert pins(lock) == {"flask": "3.0", "click": "8.1", "gevent": "2.0", "greenlet": "3.0"}
    assert lock.made_from == "requirements.txt" and lock.path
    assert lock.path.read_text().startswith(f"# Made from requirements.txt for {PLATFORM}.\nclick==8.1 \\\n    --hash=")
    # Copied into the source, it is a lock.
    shutil.copy(lock.path, app / "requirements.txt")
    again = locked(app)
    assert again.entries == lock.entries and again.path is None


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("wanted", "notes"),
    [
        ("gevent<2", ["gevent 2.0 of artifact_server_lock is installed, although the requirements say gevent<2"]),
        ("gevent==1.0\nuwsgi==2.0.21", ["gevent 2.0 of", "uwsgi 2.0.31 of"]),
        (
            "pyuwsgi==2.0.30",
            ["uwsgi 2.0.31 of artifact_server_lock is installed, although the requirements say pyuwsgi==2.0.30"],
        ),
        ("greenlet<3 # old", ["greenlet 3.0 of"]),
        ("gevent\ngreenlet==3.0", []),
        ("flask\n-c limits.txt", []),
    ],
)
def test_the_server_is_the_one_that_was_proven_and_a_pin_of_another_is_noted(
    app: Path, locked: LockOf, wanted: str, notes: list[str]
) -> None:
    (app / "limits.txt").write_text("gevent<2\n")
    (app / "requirements.txt").write_text(f"{wanted}\n")
    lock = locked(app)
    assert (pins(lock)["gevent"], pins(lock)["greenlet"]) == ("2.0", "3.0")
    assert not {"uwsgi", "pyuwsgi"} & set(pins(lock))
    assert len(lock.notes) == len(notes) and all(map(str.startswith, lock.notes, notes)), lock.notes


@pytest.mark.usefixtures("registry")
def test_a_package_that_forbids_the_versions_of_the_server_gets_them_and_the_plan_says_so(
    app: Path, locked: LockOf
) -> None:
    (app / "requirements.txt").write_text("flask\nbin==1.0\n")
    for _ in range(2):  # The second lock is in the cache.
        lock = locked(app)
        assert pins(lock) == {"bin": "1.0", "click": "8.1", "flask": "3.0", "gevent": "2.0", "greenlet": "3.0"}
        assert lock.notes == [
            "greenlet 3.0 of artifact_server_lock is installed, although bin depends on greenlet<3.0: this service "
            "is tested only with 3.0"
        ]
    (app / "requirements.txt").write_text("bin\nflask==3.1\n")
    assert "cannot be locked: correct what it requires" in problem(lambda: locked(app))


@pytest.mark.usefixtures("registry")
def test_a_file_with_some_hashes_is_locked_too(app: Path, locked: LockOf, registry: Path) -> None:
    checksum = hashlib.sha256(next(registry.glob("click/*8.0*.whl")).read_bytes()).hexdigest()
    (app / "requirements.txt").write_text(f"click==8.0 --hash=sha256:{checksum}\nflask\n")
    assert pins(locked(app))["flask"] == "3.1" and pins(locked(app))["click"] == "8.0"


@pytest.mark.usefixtures("registry")
def test_the_dependencies_of_a_project_are_locked(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\ndependencies = ["flask<3.1"]\n')
    lock = locked(app)
    assert pins(lock)["flask"] == "3.0" and lock.made_from == "pyproject.toml"
    (app / "requirements.txt").write_text("click==8.0\n")
    assert "flask" not in pins(locked(app))
    assert pins(locked(app, "pyproject.toml")) == pins(lock)


def test_a_uv_lock_beside_the_project_is_exported(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["flask"]\n'
        '[tool.uv]\nrequired-version = "==0.0.1"\n'
    )
    checksum = HASH.removeprefix("--hash=")
    (app / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n'
        '[[package]]\nname = "flask"\nversion = "2.9"\nsource = { registry = "https://example.org/simple" }\n'
        f'wheels = [{{ url = "https://example.org/flask-2.9-py3-none-any.whl", hash = "{checksum}", size = 1 }}]\n'
        '[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "flask" }]\n[package.metadata]\nrequires-dist = [{ name = "flask" }]\n'
    )
    lock = locked(app)
    assert pins(lock) == {"flask": "2.9"} and lock.made_from == "uv.lock"


@pytest.mark.usefixtures("registry")
def test_a_package_is_locked_with_what_it_requires(locked: LockOf, app: Path) -> None:
    package = Package("flask", "3.0", "flask==3.0")
    lock = locked(package)
    assert pins(lock) == {"click": "8.1", "flask": "3.0", "gevent": "2.0", "greenlet": "3.0"}
    assert lock.made_from == "flask==3.0"
    (app / "more.txt").write_text("click<8.1\n")
    assert pins(locked(package, str(app / "more.txt")))["click"] == "8.0"


def test_a_lock_that_is_given_must_have_the_package(locked: LockOf, app: Path) -> None:
    package = Package("flask", "3.0", "flask==3.0")
    given = app / "lock.txt"
    for text, says in ((f"click==8.0 {HASH}", "does not have flask"), (f"flask==3.1 {HASH}", "pins flask==3.1")):
        given.write_text(text)
        message = problem(lambda: locked(package, str(given)))
        assert message.startswith(
            f"flask_uwsgi_requirements={given} {says}, and flask_uwsgi_source=flask==3.0: recreate"
        )
    given.write_text(f"Flask==3.0 {HASH}\n")
    assert pins(locked(package, str(given))) == {"flask": "3.0"}


@pytest.mark.usefixtures("registry")
def test_a_distribution_is_locked_without_itself(locked: LockOf, tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    file = wheel(tmp_path / "with space", "shop", "1.4", "flask")
    lock = locked(Distribution(file))
    assert pins(lock) == {"click": "8.1", "flask": "3.1", "gevent": "2.0", "greenlet": "3.0"}
    assert lock.made_from == file.name and lock.path and "shop-1.4" in lock.path.read_text().splitlines()[0]
    # The same file elsewhere has the same lock, so that all controllers agree.
    moved = Distribution(Path(shutil.copy(file, tmp_path)))
    assert locked(moved).path == lock.path
    wheel(tmp_path, "shop", "1.4", "flask<3.1")
    assert pins(locked(moved))["flask"] == "3.0"
    given = tmp_path / "lock.txt"
    given.write_text(f"click==8.0 {HASH}\n")
    assert pins(locked(Distribution(file), str(given))) == {"click": "8.0"}


# What only a build would show.

EVIL = """
import json, os, pathlib
pathlib.Path(os.environ.get("MARK_DIR", "MARK")).joinpath("built").write_text(json.dumps(dict(os.environ)))
from setuptools import setup
setup(name="evil", version="2.0", install_requires=["click"])
"""
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def sdist(folder: Path, mark: Path, name: str = "evil", version: str = "2.0", metadata: str = "2.1") -> Path:
    """Write an sdist that leaves a mark when its build is asked anything."""
    evil = EVIL.replace("MARK", str(mark))
    files = {
        "PKG-INFO": f"Metadata-Version: {metadata}\nName: {name}\nVersion: {version}\n",
        "setup.py": evil,
        "backend.py": evil,
        "pyproject.toml": BACKEND,
    }
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{file}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A folder in which whatever runs leaves a mark; it stays empty."""
    folder = tmp_path / "mark"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def evil(registry: Path, mark: Path) -> Path:
    """Add a package to the registry whose releases have to be built to be read."""
    (registry / "evil").mkdir()
    path = sdist(registry / "evil", mark)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    (registry / "evil" / "index.html").write_text(f'<a href="{path.name}#sha256={checksum}">{path.name}</a>\n')
    return path


def resolution(run: Callable[[], Lock]) -> Resolution:
    with pytest.raises(Unresolved) as caught:
        run()
    return caught.value.resolution


@pytest.mark.usefixtures("evil")
def test_a_requirement_without_a_wheel_is_left_to_a_build_host(app: Path, locked: LockOf) -> None:
    (app / "requirements.txt").write_text("evil\n-c limits.txt\n")
    (app / "limits.txt").write_text("click<8.1\n")
    left = resolution(lambda: locked(app))
    assert left.requirements == "evil\ngevent\n"
    assert left.constraints == "click<8.1\n"
    assert left.overrides == "gevent==2.0\ngreenlet==3.0\nuwsgi==2.0.31\n"
    assert left.preferred == SERVER and left.distribution is None and left.project == ""
    # What the build host makes lies where the controller's own would.
    left.path.write_text(f"{left.head}evil==2.0 {HASH}\nclick==8.0 {HASH}\n")
    assert pins(locked(app)) == {"evil": "2.0", "click": "8.0"}
    left.path.write_text(f"{left.head}evil @ git+https://example.org/evil\n")
    assert "is not a release of the registry" in problem(lambda: locked(app))


def test_an_older_release_is_not_taken_because_it_has_a_wheel(
    app: Path, locked: LockOf, registry: Path, evil: Path
) -> None:
    older = wheel(registry / "evil", "evil", "1.0")
    links = (f'<a href="{path.name}">{path.name}</a>\n' for path in (older, evil))
    (registry / "evil" / "index.html").write_text("".join(links))
    (app / "requirements.txt").write_text("evil\n")
    assert resolution(lambda: locked(app)).requirements == "evil\ngevent\n"
    # Where it is what is asked for, it is.
    (app / "requirements.txt").write_text("evil<2\n")
    assert pins(locked(app))["evil"] == "1.0"


def test_a_package_that_is_required_by_another_is_left_to_a_build_host(
    app: Path, locked: LockOf, registry: Path, evil: Path
) -> None:
    (registry / "shop").mkdir()
    path = wheel(registry / "shop", "shop", "1.0", "evil")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    (registry / "shop" / "index.html").write_text(f'<a href="{path.name}#sha256={checksum}">{path.name}</a>\n')
    (app / "requirements.txt").write_text("shop\n")
    assert resolution(lambda: locked(app)).requirements == "shop\ngevent\n"


@pytest.mark.usefixtures("registry")
def test_an_sdist_without_static_metadata_is_left_to_a_build_host(locked: LockOf, tmp_path: Path, mark: Path) -> None:
    file = sdist(tmp_path, mark)
    left = resolution(lambda: locked(Distribution(file)))
    assert left.distribution == file and left.requirements == "gevent\n"


@pytest.mark.usefixtures("registry")
def test_an_sdist_with_static_metadata_is_read(locked: LockOf, tmp_path: Path, mark: Path) -> None:
    assert pins(locked(Distribution(sdist(tmp_path, mark, metadata="2.2")))) == {"gevent": "2.0", "greenlet": "3.0"}


@pytest.mark.parametrize(
    "text",
    ['[project]\nname = "evil"\nversion = "1"\ndynamic = ["dependencies"]\n', '[tool.poetry.dependencies]\nx = "*"\n'],
)
@pytest.mark.usefixtures("registry")
def test_a_project_whose_dependencies_only_a_build_shows_is_left_to_a_build_host(
    app: Path, locked: LockOf, mark: Path, text: str
) -> None:
    (app / "pyproject.toml").write_text(f"{text}{BACKEND}")
    (app / "backend.py").write_text(EVIL.replace("MARK", str(mark)))
    assert resolution(lambda: locked(app)).project == "pyproject.toml"


@pytest.mark.usefixtures("evil")
def test_a_wheel_that_the_operator_s_own_uv_built_is_not_used(app: Path, locked: LockOf, tmp_path: Path) -> None:
    (app / "requirements.txt").write_text("evil\n")
    with pytest.raises(Unresolved):
        locked(app)
    assert (tmp_path / "cache" / "uv").is_dir() and not (tmp_path / "uv").exists()


def test_uv_is_given_no_secret_of_the_operator_s() -> None:
    given = {
        "PATH": "/bin", "HOME": "/srv/me", "HTTPS_PROXY": "p", "no_proxy": "n", "UV_INDEX_MINE_PASSWORD": "p",
        "ANSIBLE_VAULT_PASSWORD_FILE": "v", "AWS_SECRET_ACCESS_KEY": "s", "UV_NO_BUILD_ISOLATION": "1",
        "UV_CACHE_DIR": "c", "VIRTUAL_ENV": "v", "PYTHONPATH": "p", "UV_PYTHON": "evil", "UV_OVERRIDE": "o",
    }  # fmt: skip
    assert uv_module.environment(given) == {
        "PATH": "/bin", "HOME": "/srv/me", "HTTPS_PROXY": "p", "no_proxy": "n", "UV_INDEX_MINE_PASSWORD": "p",
        "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1",
    }  # fmt: skip


# What an application's files say of where packages come from.


@pytest.mark.usefixtures("registry")
def test_options_in_files_do_not_count_and_are_named(app: Path, locked: LockOf, tmp_path: Path) -> None:
    # Another registry's flask 9, which uv would take with any of these.
    (tmp_path / "links").mkdir()
    wheel(tmp_path / "links", "flask", "9.0")
    links = (tmp_path / "links").as_uri()
    options = "--trusted-host example.org\n--no-binary :all:\n--pre\n"
    (app / "requirements.txt").write_text(f"{options}flask --config-settings=a=b\n-r more.txt\n")
    (app / "more.txt").write_text("--prefer-binary\n")
    for name, text in (
        ("uv.toml", f'find-links = ["{links}"]\n'),
        ("pyproject.toml", f'[tool.uv]\nfind-links = ["{links}"]\noverride-dependencies = ["flask==9.0"]\n'),
    ):
        (app / name).write_text(text)
    lock = locked(app)
    assert pins(lock)["flask"] == "3.1"
    assert lock.ignored == [
        *(
            f"{option} of requirements.txt"
            for option in ("--trusted-host", "--no-binary", "--pre", "--config-settings")
        ),
        "--prefer-binary of more.txt",
    ]


@pytest.mark.usefixtures("registry")
def test_settings_of_uv_in_a_project_do_not_count(app: Path, locked: LockOf, tmp_path: Path) -> None:
    text = (
        '[project]\nname = "shop"\nversion = "1"\ndependencies = ["flask"]\n'
        '[tool.uv]\noverride-dependencies = ["flask==9.0"]\n'
    )
    (app / "pyproject.toml").write_text(text)
    lock = locked(app)
    assert pins(lock)["flask"] == "3.1" and lock.ignored == ["[tool.uv] of pyproject.toml"]
    (tmp_path / "links").mkdir()
    wheel(tmp_path / "links", "flask", "9.0")
    for more, where in (
        (f'find-links = ["{(tmp_path / "links").as_uri()}"]\n', "tool.uv.find-links"),
        ('index-url = "https://me:hunter2@example.org/simple"\n', "tool.uv.index-url"),
        ('[[tool.uv.index]]\nname = "ours"\nurl = "https://me:hunter2@example.org/simple"\n', "tool.uv.index"),
        ('[[tool.poetry.source]]\nname = "ours"\nurl = "https://example.org/simple"\n', "tool.poetry.source"),
    ):
        (app / "pyproject.toml").write_text(text + more)
        message = problem(lambda: locked(app))
        assert f" in {where}, which does not count here" in message and "hunter2" not in message


@pytest.mark.usefixtures("registry")
def test_settings_of_uv_around_the_cache_do_not_count(
    app: Path, locked: LockOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The cache may be in a clone of the application. Only the operator's own settings count.
    monkeypatch.delenv("UV_NO_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "links").mkdir()
    wheel(tmp_path / "links", "flask", "9.0")
    settings = f'find-links = ["{(tmp_path / "links").as_uri()}"]\n'
    (tmp_path / "uv.toml").write_text(settings)
    (app / "requirements.txt").write_text("flask\n")
    assert pins(locked(app))["flask"] == "3.1"
    (tmp_path / "config" / "uv").mkdir(parents=True)
    (tmp_path / "config" / "uv" / "uv.toml").write_text(settings)
    (app / "requirements.txt").write_text("flask>=1\n")
    assert pins(locked(app))["flask"] == "9.0"


def test_a_lock_with_options_is_a_lock(app: Path, locked: LockOf) -> None:
    (app / "requirements.txt").write_text(f"--trusted-host example.org\nflask==3.0 {HASH}\n")
    lock = locked(app)
    assert pins(lock) == {"flask": "3.0"} and lock.path is None
    assert lock.ignored == ["--trusted-host of requirements.txt"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("--index-url https://me:hunter2@example.org/simple", "'--index-url https://…@example.org/simple'"),
        (
            "--extra-index-url=https://example.org/simple?key=hunter2",
            "'--extra-index-url=https://example.org/simple?…'",
        ),
        ("-i https://example.org/simple", "'-i https://example.org/simple'"),
        ("-fhttps://example.org/simple", "'-fhttps://example.org/simple'"),
        ("--find-links ./wheels", "'--find-links ./wheels'"),
        ("--index-url \\\n   https://example.org/simple", "'--index-url     https://example.org/simple'"),
        ("--no-index", "'--no-index'"),
    ],
)
@pytest.mark.parametrize("lock", [True, False])
def test_a_place_of_packages_in_a_file_is_refused_by_its_line(
    app: Path, locked: LockOf, line: str, shown: str, lock: bool
) -> None:
    (app / "requirements.txt").write_text("-r more.txt\n")
    (app / "more.txt").write_text(f"# Ours.\n\n{line}\nflask==3.0 {HASH if lock else ''}\n")
    message = problem(lambda: locked(app))
    assert message.startswith(
        f"flask_uwsgi_requirements={app / 'more.txt'} has {shown} in line 3, which does not count"
    )
    assert "UV_INDEX" in message and "/etc/pip.conf" in message and "hunter2" not in message


@pytest.mark.usefixtures("registry")
def test_a_place_that_the_operator_has_configured_too_is_accepted(
    app: Path, locked: LockOf, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "requirements.txt").write_text(
        f"--index-url {registry.as_uri()}/\n--extra-index-url https://other@example.org/simple/\nflask==3.0 {HASH}\n"
    )
    assert "example.org" in problem(lambda: locked(app))
    monkeypatch.setenv("UV_INDEX", "more=https://me:secret@example.org/simple https://example.org/x")
    lock = locked(app)
    assert pins(lock) == {"flask": "3.0"}
    assert lock.ignored == ["--index-url of requirements.txt", "--extra-index-url of requirements.txt"]


def test_the_place_that_everybody_has_is_accepted(app: Path, locked: LockOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirement_files, "_usual", lambda: {"https://usual.example.org/simple"})
    (app / "requirements.txt").write_text(f"-i https://usual.example.org/simple/\nflask==3.0 {HASH}\n")
    assert pins(locked(app)) == {"flask": "3.0"}
    monkeypatch.undo()
    assert all(address.startswith("https://") and address.endswith("/simple") for address in requirement_files._usual())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-r ../secret.txt\n", "which is outside the source"),
        ("-c link.txt\n", "which is outside the source"),
        ("-r https://example.org/r.txt\n", "an address: download it into the source"),
        ("-e .\n", "names the source itself (`.`), which has no pyproject.toml"),
        ("-e ..\n", "'-e ..' is not a release of the registry"),
        ("./lib\n", "'./lib' is not a release of the registry"),
        ("git+https://me:hunter2@example.org/x\n", "'git+https://…@example.org/x' is not a release"),
        ("flask>=>1\n", "is not a requirement ("),
        ("flask ${SECRET}\n", "is not a requirement ("),
        ("-r pipe\n", "is not a file: set it to"),
        ("-r .\n", "cannot be read: Is a directory"),
    ],
)
def test_what_leads_out_or_cannot_be_read_is_refused_by_name(
    app: Path, locked: LockOf, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "secret.txt").write_text("hunter2\n")
    (app / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(app / "pipe")
    (app / "requirements.txt").write_text(text)
    message = problem(lambda: locked(app))
    assert says in message and "hunter2" not in message


@pytest.mark.usefixtures("registry")
def test_the_encodings_that_editors_write_are_read(app: Path, locked: LockOf) -> None:
    for content in ("\ufeffflask<3.1\n".encode(), b"\xff\xfe" + "flask<3.1\r\n".encode("utf-16-le")):
        (app / "requirements.txt").write_bytes(content)
        assert pins(locked(app))["flask"] == "3.0"
    for content in (
        b"# -*- coding: latin-1 -*-\nflask<3.1 # caf\xe9\n",
        b"# caf\xe9\n# vim: set fileencoding=iso-8859-15 :\nflask<3.1\n",
        codecs.BOM_UTF32_LE + "flask<3.1\n".encode("utf-32-le"),
        codecs.BOM_UTF16_BE + "flask<3.1\n".encode("utf-16-be"),
    ):
        (app / "more.txt").write_bytes(content)
        (app / "requirements.txt").write_text("flask\n-r more.txt\n")
        assert pins(locked(app))["flask"] == "3.0"
        (app / "requirements.txt").write_text("flask\n-c more.txt\n")
        assert pins(locked(app))["flask"] == "3.0"
    for content, message in (
        (b"flask # caf\xe9\n", "is not UTF-8 text (byte 11): save it as UTF-8"),
        (b"flask\n\n# coding: latin-1 \xe9\n", "is not UTF-8 text (byte 25): save it as UTF-8"),
        (b"# coding: klingon\nflask\n", "declares the encoding 'klingon', which Python does not know"),
        (b"# coding: ascii\nflask # caf\xe9\n", "is not ASCII text (byte 27)"),
    ):
        (app / "more.txt").write_bytes(content)
        assert f"flask_uwsgi_requirements={app / 'more.txt'} {message}" in problem(lambda: locked(app))


# The source's own project among its requirements.

SHOP = (
    '[project]\nname = "shop"\nversion = "1"\ndependencies = ["flask<3.1"]\n'
    '[project.optional-dependencies]\nold = ["click<8.1"]\nall = ["Shop[OLD]", "win"]\n'
)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("line", "more"),
    [
        (".", {"click": "8.1"}),
        ("-e .", {"click": "8.1"}),
        ("--editable=./", {"click": "8.1"}),
        (".[old]", {"click": "8.0"}),
        ("-e '.[ all ]'", {"click": "8.0", "win": "1.0"}),
        ("-e.[all]  # ours", {"click": "8.0", "win": "1.0"}),
    ],
)
def test_the_source_itself_stands_for_what_its_project_requires(
    app: Path, locked: LockOf, line: str, more: dict[str, str]
) -> None:
    (app / "pyproject.toml").write_text(SHOP)
    (app / "requirements.txt").write_text("-r deep/base.txt\n")
    (app / "deep").mkdir()
    (app / "deep" / "base.txt").write_text(f"{line}\n")
    lock = locked(app, code=[Path("pyproject.toml")])
    assert pins(lock) == {"flask": "3.0", "gevent": "2.0", "greenlet": "3.0", **more}
    assert lock.itself and lock.made_from == "requirements.txt"


@pytest.mark.usefixtures("registry")
def test_an_extra_that_the_project_does_not_have_is_reported(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text(SHOP)
    (app / "requirements.txt").write_text(".[oldest]\n")
    message = problem(lambda: locked(app, code=[Path("pyproject.toml")]))
    assert "names the extra 'oldest' of the source, which" in message and "(there are: all, old)" in message


def test_a_lock_that_names_the_source_too_is_a_lock(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text(SHOP)
    (app / "requirements.txt").write_text(f"-e .\nflask==3.0 {HASH}\n")
    lock = locked(app, code=[Path("pyproject.toml")])
    assert pins(lock) == {"flask": "3.0"} and lock.itself and not lock.path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.py", "from setuptools import setup\nsetup(name='shop')\n"),
        ("pyproject.toml", '[project]\nname = "a"\ndynamic = ["dependencies"]\n'),
        ("pyproject.toml", '[tool.poetry]\nname = "a"\n[build-system]\nrequires = ["poetry-core"]\n'),
    ],
)
def test_what_only_a_build_shows_of_the_source_itself_is_left_to_a_build_host(
    app: Path, locked: LockOf, name: str, text: str
) -> None:
    (app / name).write_text(text)
    (app / "requirements.txt").write_text(".[b,a]\nclick\n")
    left = resolution(lambda: locked(app, code=[Path(name)]))
    assert (left.project, left.extras, left.requirements) == (name, ["a", "b"], "click\ngevent\n")
    # Another extra is another lock.
    (app / "requirements.txt").write_text(".[b]\nclick\n")
    assert resolution(lambda: locked(app, code=[Path(name)])).path != left.path


# Poetry.

POETRY = (
    '[tool.poetry]\nname = "shop"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.11"\nflask = "^3"\n'
    'extra = { version = "*", optional = true }\n[build-system]\nrequires = ["poetry-core"]\n'
)
FILES = 'files = [{ file = "x.whl", hash = "sha256:' + "a" * 64 + '" }]\n'


def poetry_lock(version: str = "2.1", flask: str = 'groups = ["main"]\n', more: str = "") -> str:
    packages = {
        "Flask": ("3.0", flask),
        "click": ("8.0", 'groups = ["main", "dev"]\nmarkers = { main = "python_version > \'3.4\'", dev = "x" }\n'),
        "greenlet": ("2.0", 'groups = ["main"]\n'),
        "tester": ("1.0", 'groups = ["dev"]\n'),
        "extra": ("1.0", 'groups = ["main"]\noptional = true\n'),
    }
    text = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{pinned}"\n{FILES}{groups}'
        for name, (pinned, groups) in packages.items()
    )
    return f'{text}{more}[metadata]\nlock-version = "{version}"\n'


def test_a_poetry_lock_gives_what_is_not_for_development(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text(POETRY)
    (app / "poetry.lock").write_text(poetry_lock())
    lock = locked(app)
    assert [entry.text for entry in lock.entries] == [
        f"Flask==3.0 {HASH}", f'click==8.0 ; python_version > "3.4" {HASH}', f"greenlet==2.0 {HASH}",
    ]  # fmt: skip
    assert lock.made_from == "poetry.lock" and lock.notes == []


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        (
            poetry_lock().replace("Flask", "Flusk"),
            "does not have flask, which its pyproject.toml requires: run `poetry",
        ),
        (poetry_lock(flask='groups = ["main"]\n[package.source]\ntype = "git"\n'), "has 'Flask' from a git, which"),
        (poetry_lock(flask='groups = ["main"]\nmarkers = "x y"\n'), "has a marker of 'Flask' that cannot be read"),
        (poetry_lock().replace('"3.0"', '"3.0\\nevil==1"'), "has an entry 'Flask' that Poetry did not write"),
        (poetry_lock(more='[[package]]\nname = "x"\n'), "is not a lock of Poetry"),
        (poetry_lock(flask='groups = ["main"]\n').replace(FILES, "files = []\n", 1), "has no exact version or no hash"),
    ],
)
def test_a_poetry_lock_that_cannot_be_taken_is_refused(app: Path, locked: LockOf, lock: str, message: str) -> None:
    (app / "pyproject.toml").write_text(POETRY)
    (app / "poetry.lock").write_text(lock)
    assert message in problem(lambda: locked(app))


def test_an_old_poetry_lock_gives_versions_to_what_the_project_requires(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text(POETRY)
    (app / "poetry.lock").write_text(poetry_lock("2.0", more=f'[[package]]\nname = "tester"\nversion = "2"\n{FILES}'))
    left = resolution(lambda: locked(app))
    assert left.project == "pyproject.toml"
    # Neither the server's nor what has two.
    assert left.preferred == f"{SERVER}flask==3.0\nclick==8.0\nextra==1.0\n"
    left.path.write_text(f"{left.head}flask==3.0 {HASH}\n")
    assert locked(app).notes[0].startswith("poetry.lock has a lock-version that does not show which packages are only ")


@pytest.mark.parametrize(
    "source",
    [
        '{ git = "https://example.org/x?rev=1#abc" }',
        '{ directory = "../x" }',
        '{ path = "x.whl" }',
        '{ url = "https://example.org/x.whl" }',
    ],
)
def test_a_uv_lock_that_leads_out_is_refused_by_name(app: Path, locked: LockOf, source: str) -> None:
    (app / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\ndependencies = ["x"]\n')
    (app / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n'
        f'[[package]]\nname = "x"\nversion = "1"\nsource = {source}\n'
        '[[package]]\nname = "shop"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "x" }]\n'
    )
    message = problem(lambda: locked(app))
    assert message.startswith("flask_uwsgi_requirements=") and "cannot be locked" in message


def test_reading_a_uv_lock_runs_no_interpreter_of_the_source(app: Path, locked: LockOf, mark: Path) -> None:
    (app / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n')
    (app / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "shop"\nversion = "1"\n'
        'source = { virtual = "." }\n'
    )
    for folder in (app / ".venv" / "bin", app):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "python").write_text(f"#!/bin/sh\ntouch {mark}/ran\n")
        (folder / "python").chmod(0o755)
    (app / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (app / ".python-version").write_text("./python\n")
    assert locked(app).entries == []


# When it is made.


@pytest.mark.usefixtures("registry")
def test_a_lock_is_made_once_and_again_when_something_that_went_into_it_changes(
    app: Path, locked: LockOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("requirements.txt", "flask\n-r more.txt\n"), ("more.txt", "-c limits.txt\n")):
        (app / name).write_text(text)
    (app / "limits.txt").write_text("click<8.1\n")
    first = locked(app)
    assert pins(first)["click"] == "8.0"
    with monkeypatch.context() as without:
        without.setattr(uv_module, "compile_lock", lambda *_: pytest.fail("it was there"))
        assert locked(app) == first
    (app / "limits.txt").write_text("click<9\n")
    changed = locked(app)
    assert pins(changed)["click"] == "8.1" and changed.path != first.path
    assert locked(app, platform="debian-12-x86_64-py3.11").path != changed.path
    (tmp_path / "server.txt").write_text(SERVER.replace("gevent==2.0", "gevent==2.1"))
    assert pins(locked(app))["gevent"] == "2.1"


# What cannot be locked.


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flask==99\n", "flask==99"),
        ("no-such-thing\n", "no-such-thing"),
        ("flask<3.1\nflask>3.0\n", "flask>3.0"),
    ],
)
def test_what_cannot_be_resolved_is_reported_in_uv_s_own_words(app: Path, locked: LockOf, text: str, says: str) -> None:
    (app / "requirements.txt").write_text(text)
    message = problem(lambda: locked(app))
    assert message.startswith(
        f"flask_uwsgi_requirements={app / 'requirements.txt'} cannot be locked: correct what it requires:"
    )
    assert says in message and 2 <= len(message.splitlines()) <= 9


@pytest.mark.usefixtures("registry")
def test_a_line_that_is_not_a_release_is_reported(app: Path, locked: LockOf, tmp_path: Path) -> None:
    local = wheel(tmp_path, "local", "1.0")
    (app / "requirements.txt").write_text(f"local @ {local.as_uri()}\n")
    message = problem(lambda: locked(app))
    assert "cannot be locked: 'local @ file:" in message and "Require a release" in message


def test_a_missing_include_is_reported(app: Path, locked: LockOf) -> None:
    (app / "requirements.txt").write_text("-r none.txt\n")
    assert f"flask_uwsgi_requirements includes {app / 'none.txt'}, which does not exist" in problem(lambda: locked(app))


def test_files_that_include_each_other_end(app: Path) -> None:
    (app / "requirements.txt").write_text("-r more.txt\n")
    (app / "more.txt").write_text("-r requirements.txt\nflask\n")
    wanted = requirement_files.read(app / "requirements.txt", app)
    assert wanted.requirements == ["flask"] and len(wanted.inputs) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[project\n", "is not valid TOML"),
        ('[project]\nname = "a"\ndependencies = "flask"\n', "has no list of strings in project.dependencies"),
        ('[project]\nname = "a"\ndependencies = ["x @ git+https://h/x"]\n', "is not a release of the registry"),
        ('[project]\nname = "a"\nrequires-python = "three"\n', "which is not a version range"),
        (
            '[project]\nname = "a"\ndependencies = ["Core.lib"]\n[tool.uv.sources]\ncore-lib = { index = "i" }\n',
            "takes core-lib from [tool.uv.sources], which does not count here",
        ),
    ],
)
def test_a_project_whose_dependencies_cannot_be_read_is_reported(
    app: Path, locked: LockOf, text: str, says: str
) -> None:
    (app / "pyproject.toml").write_text(text)
    message = problem(lambda: locked(app))
    assert message.startswith(f"flask_uwsgi_requirements={app / 'pyproject.toml'} ") and says in message
    assert says in problem(lambda: locked(app, "pyproject.toml"))


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("needs", "fits"), [(">=3.13.2", True), ("~=3.11", True), (">=3.14", False), ("<3.13", False)])
def test_a_project_must_be_for_the_host_s_python(app: Path, locked: LockOf, needs: str, fits: bool) -> None:
    (app / "pyproject.toml").write_text(f'[project]\nname = "shop"\nversion = "1"\nrequires-python = "{needs}"\n')
    if fits:
        assert locked(app).path
    else:
        message = problem(lambda: locked(app))
        assert f"has requires-python='{needs}', but {PLATFORM} has Python 3.13: name another" in message


def test_a_project_that_is_named_must_be_one(app: Path, locked: LockOf) -> None:
    (app / "pyproject.toml").write_text("[tool.ruff]\n")
    message = problem(lambda: locked(app, "pyproject.toml"))
    assert message.startswith("flask_uwsgi_requirements=pyproject.toml has no project.dependencies: add them")


def test_a_controller_without_uv_is_reported_with_both_remedies(
    app: Path, locked: LockOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (app / "requirements.txt").write_text("flask\n")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    message = problem(lambda: locked(app))
    assert (
        "is not a lock, and none can be created because the controller has no uv: install it beside Ansible" in message
    )
    assert "or set flask_uwsgi_requirements to a lock with exact versions and hashes" in message


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program in uv's place."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))

    def write(script: str) -> None:
        (tmp_path / "uv").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "uv").chmod(0o755)

    return write


def test_a_registry_that_cannot_be_reached_is_reported_without_its_password(
    app: Path, locked: LockOf, uv: Callable[[str], None]
) -> None:
    uv("echo 'error: Failed to fetch: `https://me:hunter2@registry.invalid/simple/flask/`' >&2; exit 2")
    (app / "requirements.txt").write_text("flask\n")
    message = problem(lambda: locked(app))
    assert "the package registry cannot be reached from the controller. Check network, proxy and uv's" in message
    assert "//…@registry.invalid" in message and "hunter2" not in message


def test_a_lock_that_takes_too_long_is_reported(
    app: Path, locked: LockOf, uv: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    uv("exec sleep 60")
    monkeypatch.setattr(uv_module, "TIMEOUT", 0.1)
    (app / "requirements.txt").write_text("flask\n")
    assert "could not be locked within 0.1 s: try again, or provide a lock" in problem(lambda: locked(app))
