import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import address, listening
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.modules import host_state

from tests.support.fake_host import FakeHost, TemporaryLayout, write_generation
from tests.support.fake_host import manifest as whole_manifest

RunModule = Callable[..., dict[str, Any]]


def test_a_python_that_is_too_old_is_named_before_it_reads_what_it_cannot() -> None:
    # The imports fail: this Python does not know where the collection is.
    program = "import runpy, sys; sys.version_info = (3, 8, 10); runpy.run_path(sys.argv[1])"
    command = [sys.executable, "-I", "-c", program, str(host_state.__file__)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stderr, done.stderr
    said = json.loads(done.stdout)
    assert said["failed"] and f"ansible_python_interpreter={sys.executable} is Python" in said["msg"]
    assert "3.9 or newer is needed: set it to a newer one" in said["msg"]


def test_the_application_s_own_socket_is_not_a_conflict_and_others_of_its_port_are(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    listens = {address.of("0.0.0.0", 8040)}

    def strangers(bind: str, port: int) -> list[str]:
        wanted = address.of(bind, port)

        def holders(asked: address.Address, besides: list[address.Address]) -> list[listening.Process]:
            return [listening.Process(1, one.text) for one in listens if asked.collides(one) and one not in besides]

        monkeypatch.setattr(listening, "holders", holders)
        return sorted(process.name for process in host_state.strangers(layout, wanted))

    assert strangers("0.0.0.0", 8040) == ["0.0.0.0:8040"]
    host.serve("g1")
    # Another address of the same port may be opened beside it.
    assert strangers("0.0.0.0", 8040) == strangers("127.0.0.1", 8040) == strangers("[::]", 8040) == []
    assert strangers("0.0.0.0", 804) == strangers("0.0.0.0", 40) == []
    listens.add(address.of("127.0.0.2", 8040))
    listens.add(address.of("/run/shop.sock", 0))
    assert strangers("0.0.0.0", 8040) == strangers("[::]", 8040) == ["127.0.0.2:8040"]
    assert strangers("127.0.0.1", 8040) == []
    assert strangers("/run/shop.sock", 8040) == ["/run/shop.sock"]
    listens.clear()
    host.systemctl("stop", "shop@g1.service", "shop@0.0.0.0:8040.socket")
    listens.add(address.of("0.0.0.0", 8040))
    assert strangers("0.0.0.0", 8040) == ["0.0.0.0:8040"]


def test_only_complete_artifacts_and_generations_count(layout: TemporaryLayout) -> None:
    for name in ("b", "a", ".c.partial"):
        (layout.venvs / name).mkdir()
    (layout.venvs / "a" / ".complete").touch()
    assert host_state.names(layout.venvs) == ["a", "b"]
    assert host_state.names(layout.venvs, ".complete") == ["a"]
    assert host_state.names(layout.root / "none") == []


def test_a_host_without_a_deploy_is_described(run_module: RunModule, tmp_path: Path) -> None:
    result = run_module("host_state", app_name="shop", base_dir=str(tmp_path), port=1, user="root", group="nogroup-x")
    app = result["app"]
    assert not result["changed"]
    assert (app["current"], app["kept"], app["releases"], app["venvs"]) == (None, [], {}, {})
    assert (app["accounts"]["user"]["uid"], app["accounts"]["group"], app["owner"]) == (0, None, None)
    assert "group nogroup-x is missing" in app["missing"]
    assert result["host"]["platform"].startswith(result["host"]["distribution"])


def test_a_deployment_is_described(run_module: RunModule, layout: TemporaryLayout) -> None:
    write_generation(layout, "g1", mode="threads")
    gen.mark_served(layout, "g1")
    layout.current.symlink_to("generations/g1")
    for folder in (layout.releases / "r1", layout.venvs / "v1"):
        (folder / ".complete").write_text(f"{folder.name}-digest\n")
    (layout.venvs / "half-made").mkdir()
    result = run_module("host_state", app_name="shop", base_dir=str(layout.base), port=1, user="root", group="root")
    app = result["app"]
    assert (app["current"], app["mode"], app["kept"]) == ("g1", "threads", ["g1"])
    assert (app["releases"], app["venvs"]) == ({"r1": "r1-digest"}, {"v1": "v1-digest"})
    assert app["owner"] == {"base": str(layout.base), "user": None, "group": None}
    assert app["accounts"]["group"] == {"name": "root", "gid": 0}


def test_neighbours_are_returned_with_their_addresses(layout: TemporaryLayout) -> None:
    other = replace(layout, app="books")
    folder = other.generations / "g7"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(whole_manifest("g7", app_name="books", listen="127.0.0.1:8041")))
    assert host_state.neighbours(layout) == {}
    other.current.symlink_to("generations/g7")
    assert host_state.neighbours(layout) == {"books": "127.0.0.1:8041"}
    assert host_state.neighbours(other) == {}


def test_the_result_of_the_gevent_check_is_returned_with_its_inputs(layout: TemporaryLayout) -> None:
    for name, manifest in (("g1", {"artifact": "a1", "module": "shop:app"}), ("g2", {"artifact": "a2"})):
        (layout.generations / name).mkdir()
        (layout.generations / name / "manifest.json").write_text(json.dumps(whole_manifest(name, **manifest)))
    (layout.generations / "g1/gevent_check.json").write_text('{"path": "/slow", "verdict": "ok"}')
    assert host_state.checked(layout) == [{"artifact": "a1", "entry": "shop:app", "path": "/slow", "verdict": "ok"}]
