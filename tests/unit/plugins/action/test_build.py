"""The action plugin ``build``: what it asks of a build host, and what it does not ask a second time."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.action import build
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.request import sealed
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import building, planning
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Request

from tests.unit.plugins.plugin_utils.source.test_wheelhouse import PLATFORM, entry, house, pack, wheel

__all__ = ["house"]
LIMITS = {f"artifact_build_{name}": 512 for name in ("timeout", "memory_mb", "disk_mb", "tasks")}
LOST = {"failed": True, "lost": True, "msg": "ansible_host=build1 cannot be reached over SSH as root: timed out."}


class BuildHost:
    """Answers for the modules of a build host."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, dict[str, Any]] = {}

    def ask(self, module: str, arguments: Mapping[str, Any], _: Any) -> dict[str, Any]:
        self.asked.append((module.rpartition(".")[2], dict(arguments)))
        return self.answers[module.rpartition(".")[2]]

    def modules(self) -> list[str]:
        return [module for module, _ in self.asked]


@pytest.fixture
def request_(tmp_path: Path, house: Path) -> Request:
    """Ask for an application whose lock has shop, and whose server is the installer, for want of a smaller one."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "run.py").write_text("app = print\n")
    (source / "requirements.txt").write_text(entry(wheel(house, "shop")))
    for name in ("server", "build"):
        (tmp_path / f"{name}.txt").write_text(entry(house / "installer-1.1.0-py3-none-any.whl"))
    return Request(
        str(source), str(tmp_path / "server.txt"), str(tmp_path / "build.txt"), str(tmp_path / "patches"), PLATFORM,
        str(tmp_path / "cache"), limits=LIMITS,
    )  # fmt: skip


@pytest.fixture
def on(request_: Request, house: Path, monkeypatch: pytest.MonkeyPatch) -> BuildHost:
    """Return the host of the action, which builds the wheels in ``house``."""
    assert request_
    host = BuildHost()
    wheels = [{"file": path.name, "sha256": "", "built_from": ""} for path in house.glob("*.whl")]
    host.answers["wheelhouse"] = {"wheels": wheels, "megabytes": 3, "seconds": 7}
    fetch = {"ask": host.ask, "directory": lambda _: "/tmp/task/", "put": lambda file, _: f"/tmp/task/{file.name}"}
    for name, work in fetch.items():
        monkeypatch.setattr(build.ActionModule, name, lambda _, *words, work=work: work(*words))
    monkeypatch.setattr(build.ActionModule, "get", lambda _, __, file, ___: file.write_bytes(pack(house).read_bytes()))
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
    # Each question is a run of its own.
    monkeypatch.setattr(planning, "once", lambda _cache, _key, work: work())
    return host


Act = Callable[..., dict[str, Any]]


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Act:
    """Run the action."""

    def run(request: Request | str, check: bool = False, **args: Any) -> dict[str, Any]:
        asked = {"request": request if isinstance(request, str) else sealed(request), **args}
        task = SimpleNamespace(args=asked, delegate_to="build1", async_val=0, check_mode=check, diff=False)
        monkeypatch.setattr(build.ActionModule, "_display", None, raising=False)
        action = build.ActionModule(task, SimpleNamespace(), None, None, SimpleNamespace(), None)
        return action.run(None, {"inventory_hostname": "web1"})

    return run


def test_wheels_are_built_once_and_kept(on: BuildHost, act: Act, request_: Request) -> None:
    first = act(request_)
    assert first["changed"] and first["artifact"]["wheelhouse"]["built"], first
    house = first["artifact"]["wheelhouse"]
    assert first["text"] == [f"wheelhouse {house['id']}: 2 wheels, 0 of them built, 3 MB, in 7 s on build1"]
    ((module, given),) = on.asked
    assert module == "wheelhouse" and given["target"] == "/tmp/task/wheelhouse.tar"
    assert given["locks"] == list(house["requirements"].values()) and given["distribution"] == ""
    assert (given["timeout"], given["memory_mb"], given["disk_mb"], given["tasks"]) == (512, 512, 512, 512)
    assert given["build_lock"] == Path(request_.build_lock).read_text()
    again = act(request_)
    assert (again["changed"], again["text"], again["artifact"]) == (False, [], first["artifact"])
    assert on.modules() == ["wheelhouse"]


def test_requirements_that_only_a_build_knows_are_locked_first(
    on: BuildHost, act: Act, request_: Request, house: Path
) -> None:
    source = Path(request_.source)
    (source / "requirements.txt").unlink()
    (source / "pyproject.toml").write_text('[project]\nname = "a"\ndynamic = ["dependencies"]\n')
    on.answers["resolution"] = {"lock": entry(house / "shop-1.0-py3-none-any.whl")}
    locked = act(request_, wheels=False)
    assert locked["changed"] and not locked["artifact"]["wheelhouse"]["built"], locked
    path = Path(locked["artifact"]["locked"]["path"])
    assert locked["text"] == [f"lock of pyproject.toml in {path}"] and "shop==1.0" in path.read_text()
    ((_, given),) = on.asked
    assert given["project"] == "pyproject.toml" and given["archive"].startswith("/tmp/task/code-")
    assert {*building.RESOLVED, "archive", "build_lock", "timeout"} < given.keys()
    assert act(request_)["artifact"]["wheelhouse"]["built"]
    assert on.modules() == ["resolution", "wheelhouse"]


def test_what_a_build_says_becomes_a_sentence(on: BuildHost, act: Act, request_: Request) -> None:
    on.answers["wheelhouse"] = {"failed": True, "msg": "x", "why": "timeout", "subject": "shop==1.0", "said": ""}
    found = act(request_)
    assert found["failed"] and "lost" not in found
    assert found["msg"].startswith(
        f"shop==1.0, of flask_uwsgi_source={request_.source}, took longer than artifact_build_timeout=512 seconds on "
        "build1 and was stopped."
    )


@pytest.mark.parametrize("answer", [LOST, {"failed": True, "msg": "no space"}])
def test_a_build_host_that_fails_otherwise_is_named(
    on: BuildHost, act: Act, request_: Request, answer: dict[str, Any]
) -> None:
    on.answers["wheelhouse"] = answer
    found = act(request_)
    assert found["failed"] and found["msg"] == answer["msg"]
    assert list(Path(request_.cache).glob("wheelhouse*")) == []


def test_wheels_that_do_not_match_the_lock_are_refused(on: BuildHost, act: Act, request_: Request, house: Path) -> None:
    wheel(house, "evil")
    found = act(request_)
    assert found["failed"] and "evil-1.0-py3-none-any.whl" in found["msg"], found


def test_what_cannot_be_built_is_said_before_the_build_host_is_asked(
    on: BuildHost, act: Act, request_: Request
) -> None:
    assert act(replace(request_, source="/nonexistent"))["msg"].startswith("flask_uwsgi_source=/nonexistent is not a")
    assert "plan again in this run" in act("of another run")["msg"]
    assert act(request_, check=True)["skipped"]
    assert on.asked == []
