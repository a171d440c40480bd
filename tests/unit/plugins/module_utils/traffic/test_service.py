import json
import os
import subprocess
from collections.abc import Callable

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import service

from tests.support.fake_host import ADDRESS, FakeHost, TemporaryLayout

SOCKET = f"shop@{ADDRESS}.socket"
OTHER = "127.0.0.1:9000"


@pytest.fixture
def serving(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    """Serve a generation."""
    host.serve("g1")
    return host


# Drift.


def test_a_host_without_a_deploy_serves_nothing(layout: TemporaryLayout, host: FakeHost) -> None:
    assert service.drift(layout) == ["no generation serves"]


def test_a_generation_that_serves_as_deployed_does_not_drift(layout: TemporaryLayout, serving: FakeHost) -> None:
    assert service.drift(layout) == []


def test_a_damaged_secret_is_drift_and_its_values_are_never_shown(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1", secrets={"TOKEN": "s3cr3t"})
    assert service.drift(layout) == []
    (layout.generations / "g1" / "credentials" / "TOKEN").unlink()
    assert service.drift(layout) == ["credentials/TOKEN was changed by hand"]


def change_ini(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.generations / "g1" / "uwsgi.ini").write_text("[uwsgi]\n")


def change_unit(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.units / "shop@.service").write_text("[Service]\n")
    host.systemctl("daemon-reload")


def change_socket(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.units / "shop@.socket").write_text("[Socket]\nListenStream=%i\n")
    host.systemctl("daemon-reload")


def change_relief(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.units / "shop-relief@.service").unlink()
    host.systemctl("daemon-reload")


def remove_dropin(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.dropin("shop@g1.service").unlink()
    host.systemctl("daemon-reload")


def remove_listen(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.dropin("shop@g1.service", "listen").unlink()
    host.systemctl("daemon-reload")


def forget_to_load(layout: TemporaryLayout, host: FakeHost) -> None:
    stored = layout.generations / "g1" / "units" / "app@.service"
    (layout.units / "shop@.service").write_text("[Service]\n")
    host.systemctl("daemon-reload")
    (layout.units / "shop@.service").write_text(stored.read_text())


def stop(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("stop", "shop@g1.service")


def crash(layout: TemporaryLayout, host: FakeHost) -> None:
    host.crash("shop@g1.service")


def disable(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("disable", "shop@g1.service")


def disable_socket(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("disable", SOCKET)


def stop_socket(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("stop", SOCKET)


def lose_socket(layout: TemporaryLayout, host: FakeHost) -> None:
    host.lose_descriptor()


def start_another(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.socket_dropin(ADDRESS).write_text(gen.socket_activates("shop@g0.service"))


def start_nothing_in_particular(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.socket_dropin(ADDRESS).unlink()


def open_another(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("start", f"shop@{OTHER}.socket")


def stray(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("start", "shop@g0.service")


def relieve(layout: TemporaryLayout, host: FakeHost) -> None:
    host.systemctl("start", "shop-relief@g1.service")


def lose_stats(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.runtime / "g1" / "g1.stats").unlink()


def lose_health(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.runtime / "g1" / "g1.sock").unlink()
    # Not a socket.
    (layout.runtime / "g1" / "g1.sock").touch()


def lie(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.runtime / "g1.pid").write_text("1\n")


def give_away(layout: TemporaryLayout, host: FakeHost) -> None:
    os.chown(layout.runtime, 1, 1)


def no_pidfile(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.pidfile.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change_ini, "uwsgi.ini was changed by hand"),
        (change_unit, "/shop@.service does not match the generation"),
        (change_socket, "/shop@.socket does not match the generation"),
        (change_relief, "/shop-relief@.service does not match the generation"),
        (remove_dropin, "/shop@g1.service.d/generation.conf does not match the generation"),
        (remove_listen, "/shop@g1.service.d/listen.conf does not match the generation"),
        (forget_to_load, "shop@g1.service was changed but not loaded"),
        (stop, "shop@g1.service is inactive"),
        (crash, "shop@g1.service is activating"),
        (disable, "shop@g1.service does not start at boot"),
        (disable_socket, f"{SOCKET} is active and disabled"),
        (stop_socket, f"{SOCKET} is inactive and enabled"),
        (lose_socket, f"nothing listens on {ADDRESS}"),
        (start_another, f"{SOCKET} does not start shop@g1.service"),
        (start_nothing_in_particular, f"{SOCKET} does not start shop@g1.service"),
        (open_another, f"shop@{OTHER}.socket is open beside it"),
        (stray, "generation g0 runs beside the current one"),
        (relieve, "shop-relief@g1.service of an interrupted restart runs"),
        (lose_stats, "shop@g1.service has lost its sockets in {runtime}/g1"),
        (lose_health, "shop@g1.service has lost its sockets in {runtime}/g1"),
        (give_away, "/run/shop is writable by other accounts than root"),
        (lie, "/run/shop/shop.pid does not name the serving master"),
        (no_pidfile, "/run/shop/shop.pid does not name the serving master"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_difference_from_the_deploy_is_reported(
    layout: TemporaryLayout, serving: FakeHost, spoil: Callable[[TemporaryLayout, FakeHost], None], words: str
) -> None:
    spoil(layout, serving)
    found = service.drift(layout)
    assert len(found) == 1 and found[0].endswith(words.format(runtime=layout.runtime)), found


def test_a_socket_on_another_address_is_reported(layout: TemporaryLayout, serving: FakeHost) -> None:
    manifest = layout.generations / "g1" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "listen": OTHER}))
    assert service.drift(layout) == [
        f"shop@{OTHER}.socket is inactive and disabled",
        f"{SOCKET} is open beside it",
    ]


def test_a_socket_without_its_unit_file_is_absent(layout: TemporaryLayout, serving: FakeHost) -> None:
    serving.systemctl("stop", SOCKET)
    serving.systemctl("disable", SOCKET)
    (layout.units / "shop@.socket").unlink()
    serving.systemctl("daemon-reload")
    assert f"{SOCKET} is inactive and absent" in service.drift(layout)


def test_the_open_units_are_listed_sockets_first(layout: TemporaryLayout, host: FakeHost) -> None:
    assert service.open_units(layout) == []
    host.serve("g1")
    host.systemctl("start", "shop-relief@g1.service")
    host.systemctl("start", f"shop@{OTHER}.socket")
    host.systemctl("start", "shop-canary@g1.service")
    assert service.open_units(layout) == [
        SOCKET, f"shop@{OTHER}.socket", "shop@g1.service", "shop-relief@g1.service",
    ]  # fmt: skip
    host.systemctl("stop", "shop@*.socket", "shop-relief@g1.service")
    # systemd still has the units that the service names in memory.
    assert systemd.sockets(layout) == {ADDRESS: "inactive"}
    assert service.open_units(layout) == ["shop@g1.service"]


# systemd's command line.


def test_an_error_of_systemctl_is_reported_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        systemd,
        "capture",
        lambda command, timeout: subprocess.CompletedProcess(command, 5, "", "Unit x not found.\n"),
    )
    with pytest.raises(SystemdError, match=r"^`systemctl start x` failed: Unit x not found\.$"):
        systemd.systemctl("start", "x")


def test_a_systemctl_that_takes_too_long_is_reported() -> None:
    with pytest.raises(SystemdError, match=r"`sleep 5` did not end within 0 s"):
        systemd._run("sleep", "5", timeout=0.05)


def test_units_and_properties_are_read_as_systemctl_prints_them(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From systemd 252.
    printed = {
        "list-units": (
            "shop@3f2a90c1d5e7.service loaded    active   running shop: generation 3f2a90c1d5e7\n"
            "shop@79ef0d3abb03.service not-found failed   failed  shop@79ef0d3abb03.service\n"
        ),
        "show": "Listen=0.0.0.0:8040 (Stream)\nActiveState=active\nUnitFileState=\n",
    }
    monkeypatch.setattr(
        systemd,
        "capture",
        lambda command, timeout: subprocess.CompletedProcess(command, 0, printed[command[1]], ""),
    )
    assert systemd.instances(layout) == {"3f2a90c1d5e7": "active", "79ef0d3abb03": "failed"}
    assert systemd.show("shop@0.0.0.0:8040.socket", "ActiveState", "Listen") == {
        "Listen": "0.0.0.0:8040 (Stream)",
        "ActiveState": "active",
        "UnitFileState": "",
    }


def test_addresses_and_reliefs_are_read_as_systemctl_prints_them(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From systemd 252.
    printed = {
        "shop@*.socket": (
            "shop@0.0.0.0:8040.socket   loaded active   running shop: socket on 0.0.0.0:8040\n"
            "shop@127.0.0.1:9000.socket loaded inactive dead    shop: socket on 127.0.0.1:9000\n"
        ),
        "shop-relief@*.service": "shop-relief@3f2a90c1d5e7.service loaded deactivating stop-sigterm shop: relief\n",
        "shop@*.service": (
            "shop@3f2a90c1d5e7.service loaded inactive     dead         shop: generation 3f2a90c1d5e7\n"
            "shop@79ef0d3abb03.service loaded activating   auto-restart shop: generation 79ef0d3abb03\n"
            "shop@8a16f2fd6ec0.service loaded failed       failed       shop: generation 8a16f2fd6ec0\n"
        ),
    }
    monkeypatch.setattr(
        systemd,
        "capture",
        lambda command, timeout: subprocess.CompletedProcess(command, 0, printed[command[-1]], ""),
    )
    assert systemd.sockets(layout) == {"0.0.0.0:8040": "active", "127.0.0.1:9000": "inactive"}
    assert systemd.relieving(layout) == ["3f2a90c1d5e7"]
    assert systemd.running(layout) == ["79ef0d3abb03"]


# The journal.


def test_the_end_of_the_journal_is_the_last_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    # From systemd 252.
    output = "-- cursor: as somebody logged it\nx\n-- cursor: s=30a33d;i=7fe;b=36305c;m=370853c83;t=66102d;x=de5834\n"

    def run(command: tuple[str, ...], timeout: float) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, output, "")

    monkeypatch.setattr(systemd, "capture", run)
    assert systemd.cursor() == "s=30a33d;i=7fe;b=36305c;m=370853c83;t=66102d;x=de5834"
    assert "--show-cursor" in asked[0]
    output = ""
    assert systemd.cursor() is None


def test_a_journal_without_a_cursor_is_read_from_its_end(host: FakeHost) -> None:
    for number in range(30):
        host.write("shop@g1.service", str(number))
    assert systemd.journal("shop@g1.service", 3) == ["27", "28", "29"]


def test_a_journal_is_read_from_a_cursor_on_its_last_lines(host: FakeHost) -> None:
    host.write("shop@g1.service", "before")
    host.write("other.service", "noise")
    end = systemd.cursor()
    for number in range(30):
        host.write("shop@g1.service", str(number))
    host.write("other.service", "noise")
    assert systemd.journal("shop@g1.service", 3, end) == ["27", "28", "29"]
    assert systemd.journal("shop@g1.service", 100, end) == [str(number) for number in range(30)]
    assert systemd.journal("shop@none.service", 100, end) == []
