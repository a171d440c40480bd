import json
import os
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import kinds
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.manifest import Secrets

from tests.support.fake_host import TemporaryLayout, write_generation

SECRET = "s3cr3t-v4lue"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(layout: TemporaryLayout, name: str, **files: str) -> None:
    named = {file.replace("__", "/").replace("_ini", ".ini"): content for file, content in files.items()}
    gen.write(layout.generations / name, named, os.getgid())


# Paths.


def test_the_layout_is_the_documented_one() -> None:
    layout = Layout("shop", Path("/srv"))
    paths = (layout.releases, layout.venvs, layout.generations, layout.current, layout.runtime, layout.pidfile)
    assert [str(path) for path in paths] == [
        "/srv/shop/releases",
        "/srv/shop/venvs",
        "/srv/shop/generations",
        "/srv/shop/current",
        "/run/shop",
        "/run/shop/shop.pid",
    ]
    assert Layout("shop").root == Path("/opt/shop")
    assert str(layout.check_runtime) == "/run/shop-check"
    assert (str(layout.lock), str(layout.sysctl)) == ("/run/shop.deploy", "/etc/sysctl.d/60-shop.conf")
    assert layout.socket_template == "shop@.socket"
    assert layout.socket("0.0.0.0:8040") == "shop@0.0.0.0:8040.socket"
    assert layout.service("g") == "shop@g.service"
    assert layout.canary("g") == "shop-canary@g.service"
    assert layout.relief("g") == "shop-relief@g.service"
    assert layout.check("g") == "shop-check@g.service"
    units = "/etc/systemd/system"
    assert str(layout.dropin("shop@g.service")) == f"{units}/shop@g.service.d/generation.conf"
    assert str(layout.dropin("shop@g.service", "listen")) == f"{units}/shop@g.service.d/listen.conf"
    assert str(layout.socket_dropin("0.0.0.0:8040")) == f"{units}/shop@0.0.0.0:8040.socket.d/generation.conf"


def test_every_unit_file_of_a_generation_has_its_place(layout: TemporaryLayout) -> None:
    stored = layout.generations / "g" / "units"
    assert gen.unit_targets(layout, "g") == {
        layout.units / "shop@.socket": stored / "app@.socket",
        layout.units / "shop@.service": stored / "app@.service",
        layout.units / "shop-canary@.service": stored / "app-canary@.service",
        layout.units / "shop-relief@.service": stored / "app-relief@.service",
        layout.units / "shop@g.service.d" / "generation.conf": stored / "generation.conf",
        layout.units / "shop@g.service.d" / "listen.conf": stored / "listen.conf",
        layout.units / "shop-canary@g.service.d" / "generation.conf": stored / "generation.conf",
        layout.units / "shop-relief@g.service.d" / "generation.conf": stored / "generation.conf",
        layout.units / "shop-relief@g.service.d" / "listen.conf": stored / "listen.conf",
    }


def test_a_gevent_check_has_the_same_settings_and_changes_no_other_unit(layout: TemporaryLayout) -> None:
    stored = layout.generations / "g" / "units"
    assert gen.targets(layout, "g", kinds.CHECK) == {
        layout.units / "shop-check@.service": stored / "app-check@.service",
        layout.units / "shop-check@g.service.d" / "generation.conf": stored / "generation.conf",
    }


def test_a_canary_has_the_same_settings_and_inherits_no_socket(layout: TemporaryLayout) -> None:
    stored = layout.generations / "g" / "units"
    assert gen.targets(layout, "g", kinds.CANARY) == {
        layout.units / "shop-canary@.service": stored / "app-canary@.service",
        layout.units / "shop-canary@g.service.d" / "generation.conf": stored / "generation.conf",
    }


def test_every_unit_that_runs_a_generation_gets_its_secrets(layout: TemporaryLayout) -> None:
    write_generation(layout, "g", secrets={"TOKEN": SECRET})
    stored = layout.generations / "g" / "units" / "credentials.conf"
    units = [layout.service("g"), layout.canary("g"), layout.relief("g")]
    targets = gen.unit_targets(layout, "g")
    assert {target for target, source in targets.items() if source == stored} == {
        layout.dropin(unit, "credentials") for unit in units
    }
    assert gen.targets(layout, "g", kinds.CANARY)[layout.dropin(units[1], "credentials")] == stored


def test_the_socket_starts_the_generation_it_names(layout: TemporaryLayout) -> None:
    assert gen.socket_activates(layout.service("g")) == "[Socket]\nService=shop@g.service\n"
    assert gen.socket_activates(layout.relief("g")) == "[Socket]\nService=shop-relief@g.service\n"


def test_current_is_the_generation_of_the_link_and_none_before_the_first_deploy(layout: TemporaryLayout) -> None:
    assert layout.current_generation() is None
    layout.current.symlink_to("generations/g")
    assert layout.current_generation() == "g"


# Writing.


@pytest.mark.usefixtures("umask")
def test_only_root_can_read_the_environment_and_the_service_can_read_the_rest(layout: TemporaryLayout) -> None:
    write(layout, "g", uwsgi_ini="[uwsgi]\n", environment=f'TOKEN="{SECRET}"\n', units__generation="x")
    folder = layout.generations / "g"
    assert mode(folder / "environment") == 0o600
    assert mode(folder / "uwsgi.ini") == mode(folder / "units" / "generation") == 0o640
    assert (folder / "uwsgi.ini").stat().st_gid == os.getgid()
    assert mode(folder) == mode(folder / "units") == 0o755
    assert (folder / "uwsgi.ini").read_text() == "[uwsgi]\n"


def test_leftovers_of_an_earlier_attempt_are_removed(layout: TemporaryLayout) -> None:
    write(layout, "g", uwsgi_ini="old", leftover="old")
    write(layout, "g", uwsgi_ini="new")
    assert [path.name for path in (layout.generations / "g").iterdir()] == ["uwsgi.ini"]
    assert (layout.generations / "g" / "uwsgi.ini").read_text() == "new"


def test_a_generation_without_its_manifest_does_not_count(layout: TemporaryLayout) -> None:
    write(layout, "g", uwsgi_ini="x")
    assert gen.manifest(layout, "g") is None
    assert gen.manifest(layout, "none") is None
    write_generation(layout, "g")
    found = gen.manifest(layout, "g")
    assert found and found.listen == "0.0.0.0:8040"


# The difference.


def test_the_difference_names_changed_variables_and_hides_their_values(layout: TemporaryLayout) -> None:
    before = f'CHANGED="{SECRET}-1"\nGONE="{SECRET}-2"\nSAME="{SECRET}-3"\n'
    after = f'CHANGED="{SECRET}-4"\nNEW="{SECRET}-5"\nSAME="{SECRET}-3"\n'
    write(layout, "g", environment=before, uwsgi_ini="processes = 4\n")
    shown = gen.difference(layout, "g", {"environment": after, "uwsgi.ini": "processes = 8\n"})
    assert SECRET not in shown
    for line in ("~ CHANGED", "- GONE", "+ NEW", "-processes = 4", "+processes = 8", "--- g/uwsgi.ini"):
        assert f"{line}\n" in shown
    assert "SAME" not in shown


def test_the_difference_from_nothing_shows_names_and_hides_values(layout: TemporaryLayout) -> None:
    shown = gen.difference(layout, None, {"environment": f'TOKEN="{SECRET}"\n', "uwsgi.ini": "master = true\n"})
    assert SECRET not in shown
    assert "+ TOKEN\n" in shown
    assert "--- (none)/uwsgi.ini\n" in shown


def test_the_difference_names_the_application_s_files_and_hides_their_content(layout: TemporaryLayout) -> None:
    before = {"files/a.ini": f"{SECRET}-1", "files/conf.d/gone": SECRET, "files/same": SECRET}
    gen.write(layout.generations / "g", before, os.getgid())
    after = {"files/a.ini": f"{SECRET}-2", "files/conf.d/new": SECRET, "files/same": SECRET}
    shown = gen.difference(layout, "g", after)
    assert shown == "--- flask_uwsgi_files (contents hidden)\n~ a.ini\n- conf.d/gone\n+ conf.d/new\n"
    assert gen.difference(layout, "g", before) == ""
    assert gen.difference(layout, None, {"files/a": SECRET}) == "--- flask_uwsgi_files (contents hidden)\n+ a\n"


def test_the_service_can_read_the_application_s_files(layout: TemporaryLayout) -> None:
    folder = layout.generations / "g"
    gen.write(folder, {"files/conf.d/deep/a.ini": "a"}, os.getgid())
    assert mode(folder / "files/conf.d/deep/a.ini") == 0o640
    assert [mode(folder / path) for path in ("files", "files/conf.d", "files/conf.d/deep")] == [0o755] * 3


def test_the_same_files_have_no_difference(layout: TemporaryLayout) -> None:
    files = {"environment": f'TOKEN="{SECRET}"\n', "uwsgi.ini": "master = true\n"}
    gen.write(layout.generations / "g", files, os.getgid())
    assert gen.difference(layout, "g", files) == ""


def test_a_removed_generation_counts_as_none(layout: TemporaryLayout) -> None:
    assert "+master = true\n" in gen.difference(layout, "gone", {"uwsgi.ini": "master = true\n"})


def test_a_multiline_value_is_hidden_as_well(layout: TemporaryLayout) -> None:
    key = f'KEY="-----BEGIN PRIVATE KEY-----\n{SECRET}==\n-----END PRIVATE KEY-----"\n'
    write(layout, "g", environment='KEY="old"\n')
    assert SECRET not in gen.difference(layout, "g", {"environment": key})


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({}, {}, ""),
        ({}, {"A": "1"}, "+ A\n"),
        ({"A": "1", "B": "1"}, {"B": "1", "C": "1"}, "- A\n+ C\n"),
        ({"A": "1"}, {}, "- A\n"),
        ({"A": "1"}, {"A": "2"}, "~ values changed\n"),
        ({"A": "1"}, {"A": "1"}, ""),
    ],
)
def test_the_difference_lists_secrets_that_are_added_and_removed(
    before: dict[str, str], after: dict[str, str], shown: str
) -> None:
    difference = gen.secrets_difference(*(Secrets(tuple(sorted(found)), repr(found)) for found in (before, after)))
    assert difference == (f"--- secrets (values hidden)\n{shown}" if shown else "")


# Retention.


def test_generations_that_served_are_kept_the_last_first(layout: TemporaryLayout) -> None:
    for name in ("a", "b", "c", "never"):
        write_generation(layout, name)
    for name in ("b", "c", "a"):
        gen.mark_served(layout, name)
    assert gen.kept(layout) == ["a", "c", "b"]
    gen.mark_served(layout, "b")
    assert gen.kept(layout) == ["b", "a", "c"]
    assert gen.served(layout, "b") and not gen.served(layout, "never")


def test_a_generation_is_removed_with_its_unit_settings_and_nothing_else(layout: TemporaryLayout) -> None:
    for name in ("a", "b"):
        write_generation(layout, name)
        for unit in (layout.service(name), layout.canary(name), layout.relief(name), layout.check(name)):
            layout.dropin(unit).parent.mkdir()
            for dropin in (layout.dropin(unit), layout.dropin(unit, "listen")):
                dropin.write_text("[Service]\n")
    gen.remove(layout, "a")
    gen.remove(layout, "never-there")
    left = [str(path.relative_to(layout.top)) for path in layout.top.rglob("*") if "a" in path.name.partition("@")[2]]
    assert left == []
    assert not (layout.generations / "a").exists()
    assert gen.manifest(layout, "b")
    for unit in (layout.service("b"), layout.canary("b"), layout.relief("b"), layout.check("b")):
        assert layout.dropin(unit).is_file() and layout.dropin(unit, "listen").is_file()


# The history.


def serve(layout: TemporaryLayout, *moves: str) -> None:
    """Record moves in this order; a name that begins with a minus is a rollback."""
    for move in moves:
        name = move.removeprefix("-")
        if not (layout.generations / name).is_dir():
            write_generation(layout, name)
        gen.mark_served(layout, name, "rollback" if move != name else "deploy")


def test_the_history_counts_the_moves_with_their_kind_and_time(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gen.time, "gmtime", lambda: time.struct_time((2026, 11, 24, 3, 12, 0, 1, 328, 0)))
    serve(layout, "a", "b", "-a")
    assert gen.history(layout) == [
        gen.Mark(3, "a", "rollback", "2026-11-24T03:12:00Z"),
        gen.Mark(2, "b", "deploy", "2026-11-24T03:12:00Z"),
    ]
    assert json.loads((layout.generations / "a" / ".served").read_text()) == {
        "number": 3, "how": "rollback", "since": "2026-11-24T03:12:00Z",
    }  # fmt: skip


def test_a_clock_that_goes_backwards_does_not_change_the_order(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year, name in ((2026, "a"), (2019, "b"), (1970, "c")):
        monkeypatch.setattr(gen.time, "gmtime", lambda year=year: time.struct_time((year, 1, 1, 0, 0, 0, 0, 1, 0)))
        serve(layout, name)
        # The file's, too.
        os.utime(layout.generations / name / ".served", (2050 - year, 2050 - year))
    assert gen.kept(layout) == ["c", "b", "a"]
    assert gen.rollback_target(layout) == "b"


def test_the_number_of_a_removed_generation_is_not_reused(layout: TemporaryLayout) -> None:
    serve(layout, "a", "b", "c")
    gen.remove(layout, "b")
    serve(layout, "d")
    assert [(mark.number, mark.generation) for mark in gen.history(layout)] == [(4, "d"), (3, "c"), (1, "a")]


def test_a_mark_is_complete_or_missing(layout: TemporaryLayout) -> None:
    serve(layout, "a")
    write_generation(layout, "b")
    (layout.generations / "b" / ".served.partial").write_text('{"number":')
    assert gen.kept(layout) == ["a"]
    serve(layout, "b")
    assert gen.kept(layout) == ["b", "a"]
    assert not (layout.generations / "b" / ".served.partial").exists()


@pytest.mark.parametrize(
    ("moves", "target"),
    [
        ("", None),
        ("a", None),
        ("a b", "a"),
        ("a b c", "b"),
        # The same one again: its predecessor.
        ("a b a", "b"),
        # Repeated, it stays where it is.
        ("a b -a", "a"),
        ("a b -a -a", "a"),
        ("a b c -b", "b"),
        # By name it is the same.
        ("a b c -a", "a"),
        # Forward again by name.
        ("a b -a -b", "b"),
        # After a deploy: what served before it.
        ("a b -a c", "a"),
        ("a b -a b", "a"),
        ("a b c -a d", "a"),
        ("a b -a c d", "c"),
    ],
)
def test_a_rollback_goes_to_what_served_before_the_last_deploy(
    layout: TemporaryLayout, moves: str, target: str | None
) -> None:
    serve(layout, *moves.split())
    assert gen.rollback_target(layout) == target
