"""The plan's messages about folders that the source has or lacks."""

from pathlib import Path

from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import folders

from tests.support.planning import artifact as planned
from tests.support.planning import settings


def test_content_of_the_source_in_persistent_folders_is_reported_before_it_is_hidden(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("run.py", "instance/config.py", "instance/deep/x", "instances/y"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    files = artifact.source_files(source, [])
    archive = tmp_path / "code.tar.gz"
    artifact.pack_code(source, files, {}, archive)
    release = planned(code={"path": str(archive)})
    assert folders.hidden(settings(persistent=["instance", "uploads"]), release) == {"instance": 2}
    assert list(folders.problems(settings(persistent=["instance", "uploads"]), release)) == []
    assert list(folders.problems(settings(persistent=["run.py", "instance/config.py/a"]), release)) == [
        "flask_uwsgi_persistent has 'run.py', and flask_uwsgi_source has a file run.py: name a folder, or rename one",
        "flask_uwsgi_persistent has 'instance/config.py/a', and flask_uwsgi_source has a file instance/config.py: name "
        "a folder, or rename one",
    ]


def test_static_folders_that_the_artifact_lacks_are_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("run.py", "static/a.css", "tests/static/b.css"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    archive = tmp_path / "code.tar.gz"
    artifact.pack_code(source, artifact.source_files(source, ["tests"]), {}, archive)
    release = planned(code={"path": str(archive)})
    good = {
        "/static": "static/",
        "/a.css": "static/a.css",
        "/all": ".",
        "/ours": "shop:static",
        "/made": "$STATE_DIRECTORY/static",
        "/kept": "uploads/images",
    }
    assert list(folders.problems(settings(static=good, persistent=["uploads"]), release)) == []
    (message,) = folders.problems(settings(static={**good, "/b": "tests/static"}, persistent=["uploads"]), release)
    assert message.startswith("flask_uwsgi_static has /b=tests/static, and the artifact has no such folder: ")
    (message,) = folders.problems(settings(static={"/kept": "uploads/images"}, persistent=[]), release)
    assert message.startswith("flask_uwsgi_static has /kept=uploads/images, ")
