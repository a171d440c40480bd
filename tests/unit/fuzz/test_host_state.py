"""What root reads on a host: files damaged by a power failure, and what the service's account can write or answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent import judge
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import files, untrusted, uwsgi
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials, generation, manifest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, trial
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import ROOT

CATALOGUE = ROOT / "roles/flask_uwsgi/files/gevent_libraries.yml"
BOUND_S = 5.0
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=6),
    st.sampled_from(["../x", "/etc/shadow", "..", ".", "", "0.0.0.0:8040", "a" * 64, "gevent", "deploy", 2**70, 1e308]),
)  # fmt: skip
JSON = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
# Files as an attacker or a crash leaves them.
BROKEN = [b"", b"\0" * 64, b"{", b"null", b"[]", b"1", b'"x"', b"\xff\xfe", b"[" * 60_000, b'{"a":' * 20_000,
          b'{"pid": ' + b"9" * 60_000 + b"}", b'{"number": NaN}', b"{}"]  # fmt: skip

WORKER = st.dictionaries(
    st.sampled_from(["pid", "status", "respawn_count", "requests", "rss", "cores", "id", "accepting", "apps"]),
    JSON,
    max_size=8,
)
STATS = st.dictionaries(
    st.sampled_from(["workers", "pid", "listen_queue", "sockets", "version", "load"]),
    JSON | st.lists(WORKER, max_size=3),
    max_size=5,
)


@given(STATS | JSON)
@example({})
@example([])
@example({"workers": 1})
@example({"workers": [{"pid": "../x"}]})
def test_stats_are_valid_or_refused(document: Any) -> None:
    try:
        found = uwsgi.parse_stats(document)
    except (KeyError, TypeError, ValueError) as error:
        # Its caller turns these into one sentence.
        assert str(error)
    else:
        for worker in found.workers:
            assert 0 <= worker.pid <= 2**22


MANIFEST: dict[str, Any] = {
    "app": "shop", "release": "a" * 12, "venv": "b" * 12, "mode": "gevent", "processes": 4, "cores": 1000,
    "listen": "0.0.0.0:8040", "wsgi_file": "run.py", "callable": "app", "module": "",
    "health": {"path": "/", "status": 200, "timeout": 10}, "start_timeout": 10, "stop_timeout": 10, "keep": 3,
    "checksums": {"uwsgi.ini": "0" * 64}, "settle": 1, "secrets": {"names": [], "fingerprint": ""},
}  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(MANIFEST)), JSON, max_size=3), st.sets(st.sampled_from(sorted(MANIFEST))))
def test_a_manifest_is_complete_or_damaged(
    tmp_path_factory: pytest.TempPathFactory, spoiled: dict[str, Any], missing: set[str]
) -> None:
    path = tmp_path_factory.mktemp("generation") / "manifest.json"
    document = {name: value for name, value in (MANIFEST | spoiled).items() if name not in missing}
    path.write_text(json.dumps(document))
    try:
        found = manifest.read(path)
    except files.DamagedError as error:
        assert str(error)
    else:
        # These become parts of paths and of unit names.
        assert all("/" not in name and name not in (".", "..") for name in (found.release, found.venv))
        assert not set(found.listen) & set("/ \n\0")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    for name in ("lock", "trial"):
        monkeypatch.setattr(Layout, name, tmp_path / name)
    found = Layout("shop", tmp_path)
    (found.generations / "one").mkdir(parents=True)
    return found


@pytest.mark.parametrize("content", BROKEN)
def test_truncated_and_forged_files_are_detected(layout: Layout, content: bytes, within: Any) -> None:
    folder = layout.generations / "one"
    for path in (
        *(folder / name for name in ("manifest.json", ".served", "gevent_check.json", "credentials.json", "uwsgi.ini")),
        layout.lock,
        layout.trial,
    ):
        path.write_bytes(content)
    with within(BOUND_S):
        assert generation.manifest(layout, "one") is None
        assert generation.damage(layout, "one")
        generation.best_known(layout, "one")
        assert generation.history(layout) == [generation.Mark(0, "one", "deploy", "")]
        assert generation.rollback_target(layout) is None
        assert generation.gevent_check(layout, "one") is None
        assert credentials.encrypted(folder) is None
        assert credentials.spoiled(folder, ["TOKEN"]) == ["credentials.json"]
        assert reservation.owner(layout) in (None, {})
        trial._state(layout)


@given(JSON)
def test_an_owner_of_any_shape_is_reported(document: Any) -> None:
    owner = document if isinstance(document, dict) else {"home": controller._home(), "pid": document, "start": document}
    assert reservation.describe(owner)
    assert controller.lives(owner) in (True, False)
    assert reservation.same(owner, owner) in (True, False)


@given(
    loaded=st.dictionaries(
        st.sampled_from(["warnings", "early", "locks", "threads", "patches", "unpatched", "modules", "pid", "loops"]),
        JSON
        | st.lists(st.dictionaries(st.sampled_from(["message", "where", "kind", "module", "file", "stack"]), JSON)),
        max_size=6,
    ),
    activity=st.dictionaries(
        st.sampled_from(["blocked", "waiting", "loops"]),
        JSON | st.lists(st.fixed_dictionaries({"stack": JSON | st.lists(JSON, max_size=3), "where": JSON}), max_size=3),
        max_size=3,
    ),
    installed=st.dictionaries(st.sampled_from(["grpcio", "psycopg2"]), st.text(max_size=6), max_size=2),
)
def test_a_gevent_check_handles_anything_the_application_writes(
    loaded: dict[str, Any], activity: dict[str, Any], installed: dict[str, str]
) -> None:
    catalogue = yaml.safe_load(CATALOGUE.read_text())
    for failure in (None, "hangs", "memory", "ended"):
        evidence = judge.Evidence(loaded=loaded, activity=activity, installed=installed, failure=failure)
        json.dumps(asdict(judge.judge(evidence, catalogue)))


@contextmanager
def answering(path: Path, content: bytes) -> Iterator[None]:
    """Answer one connection on a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.settimeout(BOUND_S)
                try:
                    client.recv(65536)
                    client.sendall(content)
                except OSError:
                    return

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            thread.join()


HEAD = st.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 99999 x\r\n", b"HTTP/9 x\r\n", b"HTTP/1.1 -1 x\r\n\r\n", b"\r\n", b"\0",
     b"\xff\xfe",
     b"HTTP/1.1 302 x\r\nLocation: \x1b[2J\r\n", b"X" * 70_000, b"X: y\r\n" * 200, b"HTTP/1.1 100 Continue\r\n\r\n",
     b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", b"Content-Length: -1\r\n\r\n",
     b"Content-Length: 9999999999\r\n\r\nx"]
)  # fmt: skip


@given(st.lists(HEAD | st.binary(max_size=20), max_size=5).map(b"".join))
def test_health_is_an_answer_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("run") / "s"
    with answering(path, content):
        try:
            answer = uwsgi.health(path, "/", 2.0)
        except (untrusted.UntrustedError, OSError) as error:
            assert str(error)
        else:
            assert isinstance(answer.status, int) and len(answer.body) <= 4096
