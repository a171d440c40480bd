"""What is kept of what a build host has made."""

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import building
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Artifact, Request

from tests.support.planning import artifact
from tests.unit.plugins.plugin_utils.source.test_wheelhouse import PLATFORM, entry, house, pack, wheel

__all__ = ["house"]
SDIST = "5" * 64


@pytest.fixture
def request_(house: Path, tmp_path: Path) -> Request:
    """Ask for an application whose build lock has the installer."""
    (tmp_path / "build.txt").write_text(entry(house / "installer-1.1.0-py3-none-any.whl"))
    return Request("app", "server.txt", str(tmp_path / "build.txt"), "", PLATFORM, str(tmp_path / "cache"))


@pytest.fixture
def planned(house: Path, tmp_path: Path) -> Artifact:
    """Plan an application that requires shop."""
    (tmp_path / "cache").mkdir()
    wheelhouse: dict[str, Any] = {
        "id": "1", "digest": "f" * 64, "path": str(tmp_path / "cache" / "kept.tar"), "distribution": "", "project": "",
        "requirements": {"application": entry(wheel(house, "shop")), "server": ""},
    }  # fmt: skip
    return artifact(platform=PLATFORM, wheelhouse=wheelhouse)


def fetch(planned: Artifact, request_: Request, house: Path, more: bytes = b"", **built: str) -> None:
    """Fetch what a build host has packed, and keep it."""
    with building.fetched(planned) as archive:
        archive.write_bytes(pack(house).read_bytes() + more)
        wheels = [{"file": f"{name}-1.0-py3-none-any.whl", "built_from": sdist} for name, sdist in built.items()]
        building.keep_wheelhouse(planned, archive, request_, wheels)


def test_the_first_wheelhouse_that_matches_its_locks_is_kept(planned: Artifact, request_: Request, house: Path) -> None:
    kept = Path(planned.wheelhouse["path"])
    fetch(planned, request_, house)
    record = art.recorded(kept, "f" * 64)
    assert record and (record["file"], record["installer"]) == (kept.name, "installer-1.1.0-py3-none-any.whl")
    assert record["sha256"] == art.sha256(kept)
    # Another run has built the same, with other bytes: what may be about to be shipped stays.
    fetch(planned, request_, house, bytes(10240))
    assert art.recorded(kept, "f" * 64) == record
    kept.write_bytes(b"damaged")
    fetch(planned, request_, house)
    assert art.recorded(kept, "f" * 64) == record
    assert sorted(path.name for path in kept.parent.iterdir()) == [".kept.tar.lock", kept.name, f"{kept.name}.json"]


def test_a_refused_wheelhouse_is_kept_for_inspection_and_is_no_artifact(
    planned: Artifact, request_: Request, house: Path
) -> None:
    kept = Path(planned.wheelhouse["path"])
    wheel(house, "evil")
    for _ in range(2):
        with pytest.raises(ArtifactError) as refused:
            fetch(planned, request_, house)
    message = str(refused.value)
    assert message.startswith("the wheelhouse 1 does not match its locks") and "evil-1.0" in message
    assert f"The wheels are in {kept}.refused for inspection" in message
    assert message.endswith("nothing was shipped, and no application host was changed.")
    # Only the last one.
    assert sorted(path.name for path in kept.parent.iterdir()) == [f"{kept.name}.refused"]


def test_a_wheel_counts_as_built_only_if_the_build_host_says_so(
    planned: Artifact, request_: Request, house: Path
) -> None:
    # A lock of the sdist, from which the wheel was built.
    planned.wheelhouse["requirements"]["application"] = f"shop==1.0 --hash=sha256:{SDIST}\n"
    with pytest.raises(ArtifactError, match="shop"):
        fetch(planned, request_, house)
    fetch(planned, request_, house, shop=SDIST)
    assert art.recorded(Path(planned.wheelhouse["path"]), "f" * 64)


@pytest.mark.parametrize(
    ("requirements", "said"),
    [("more.txt", "flask_uwsgi_requirements=more.txt"), ("", "flask_uwsgi_source=git+https://…@example.org/shop")],
)
def test_a_failed_build_names_the_variable_and_no_password(requirements: str, said: str) -> None:
    asked = Request(
        "git+https://jane:hunter2@example.org/shop", "", "", "", PLATFORM, "", requirements=requirements,
        limits={"artifact_build_timeout": 5},
    )  # fmt: skip
    message = building.problem(asked, {"subject": "x==1", "why": "timeout", "said": ""}, "build1", "")
    assert message.startswith(f"x==1, of {said}") and "artifact_build_timeout=5 seconds on build1" in message
    assert "hunter2" not in message
