"""The commands of a deploy, in a temporary unit that is removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import commands

from tests.support.fake_host import TemporaryLayout, manifest

UNIT = "shop-pre@g1.service"


class Systemd:
    """Runs the unit, with the result ``outcome``."""

    def __init__(self, layout: TemporaryLayout) -> None:
        self.layout = layout
        self.asked: list[str] = []
        self.installed: list[str] = []
        self.printed = ["Starting shop-pre@g1.service - x...", "+ first", "one", "+ second", "two"]
        self.outcome: Callable[[], None] = lambda: None
        self.properties = {"Result": "exit-code", "ExecMainStatus": "3"}

    def systemctl(self, *words: str, timeout: float = 90) -> str:
        assert timeout > 0
        self.asked.append(" ".join(words))
        if words[0] == "start":
            files = (path for path in self.layout.units.rglob("*") if path.is_file())
            self.installed = sorted(str(path.relative_to(self.layout.units)) for path in files)
            self.outcome()
        return ""


@pytest.fixture
def fake(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    units = layout.generations / "g1/units"
    units.mkdir(parents=True)
    for name in ("app-task@.service", "generation.conf"):
        (units / name).write_text(name)
    fake = Systemd(layout)
    monkeypatch.setattr(systemd, "systemctl", fake.systemctl)
    monkeypatch.setattr(systemd, "cursor", lambda: "i=1")
    monkeypatch.setattr(systemd, "journal", lambda unit, lines, after: fake.printed if unit == UNIT else [])
    monkeypatch.setattr(systemd, "show", lambda unit, *_: fake.properties if unit == UNIT else {})
    return fake


def nothing_remains(layout: TemporaryLayout, fake: Systemd) -> bool:
    left: list[Path] = [path for path in layout.units.rglob("*") if "shop-p" in str(path)]
    return not left and fake.asked[-3:] == [
        "stop shop-pre@*.service",
        "daemon-reload",
        "reset-failed shop-pre@*.service",
    ]


def test_they_run_in_a_unit_that_is_removed(layout: TemporaryLayout, fake: Systemd) -> None:
    assert commands.run(layout, "g1", "pre", 5) == ["+ first", "one", "+ second", "two"]
    assert fake.installed == ["shop-pre@.service", "shop-pre@g1.service.d/generation.conf"]
    assert nothing_remains(layout, fake)


def test_the_same_commands_left_running_by_a_killed_run_are_awaited(layout: TemporaryLayout, fake: Systemd) -> None:
    commands.run(layout, "g1", "pre", 5)
    before = fake.asked[: fake.asked.index(f"start {UNIT}")]
    # A stop would interrupt a migration.
    assert not [words for words in before if words.startswith("stop ")]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            "exit-code",
            "`second` of flask_uwsgi_pre_activate failed: it exited with status 3. Correct it, and deploy again.",
        ),
        ("timeout", "failed: it did not end within 5 s (flask_uwsgi_command_timeout)."),
        ("signal", "failed: it was killed by signal 3."),
        ("oom-kill", "failed: the kernel killed it because it ran out of memory (flask_uwsgi_memory_mb)."),
        ("protocol", "failed: systemd says protocol."),
    ],
)
def test_a_failed_command_is_reported_with_its_last_lines(
    layout: TemporaryLayout, fake: Systemd, result: str, message: str
) -> None:
    def fail() -> None:
        raise systemd.SystemdError("`systemctl start` failed")

    fake.outcome, fake.properties["Result"] = fail, result
    with pytest.raises(commands.CommandsError) as raised:
        commands.run(layout, "g1", "pre", 5)
    assert message in str(raised.value)
    assert str(raised.value).endswith("Its last lines:\n    two")
    assert nothing_remains(layout, fake)


def test_the_exception_of_a_failed_command_is_reported_with_the_remedy(layout: TemporaryLayout, fake: Systemd) -> None:
    def fail() -> None:
        raise systemd.SystemdError("`systemctl start` failed")

    (layout.generations / "g1/manifest.json").write_text(json.dumps(manifest()))
    fake.outcome = fail
    fake.printed = [
        *("+ flask db upgrade", "Traceback (most recent call last):", '  File "<frozen os>", line 679, in __getitem__'),
        "KeyError: 'SHOP_MODE'",
    ]
    with pytest.raises(commands.CommandsError) as raised:
        commands.run(layout, "g1", "pre", 5)
    assert str(raised.value).splitlines()[0] == (
        "`flask db upgrade` of flask_uwsgi_pre_activate failed: it exited with status 3: KeyError: 'SHOP_MODE'. "
        "Set SHOP_MODE in flask_uwsgi_environment. Then deploy again."
    )
    fake.printed[-1] = "ShopError: there is no shop"
    with pytest.raises(commands.CommandsError) as raised:
        commands.run(layout, "g1", "pre", 5)
    assert str(raised.value).splitlines()[0].endswith(": ShopError: there is no shop. Correct it, and deploy again.")
    fake.printed = ["+ false"]
    with pytest.raises(commands.CommandsError, match=r"\nIt printed nothing\.$"):
        commands.run(layout, "g1", "pre", 5)


def test_secrets_in_their_output_are_masked(layout: TemporaryLayout, fake: Systemd) -> None:
    folder = layout.generations / "g1"
    (folder / "manifest.json").write_text(json.dumps(manifest(secrets={"names": ["TOKEN"], "fingerprint": ""})))
    (folder / "credentials").mkdir()
    (folder / "credentials/TOKEN").write_text("oh-so-secret")
    fake.printed = ["+ login", "token is oh-so-secret"]
    assert commands.run(layout, "g1", "pre", 5) == ["+ login", "token is ********"]


def test_a_denial_by_the_sandbox_is_named(layout: TemporaryLayout, fake: Systemd) -> None:
    fake.printed += [
        "Traceback (most recent call last):",
        '  File "/opt/shop/venvs/v1/bin/flask", line 8, in <module>',
        "    sys.exit(main())",
        "sqlite3.OperationalError: attempt to write a readonly database",
    ]

    def fail() -> None:
        raise systemd.SystemdError("it failed")

    fake.outcome = fail
    with pytest.raises(commands.CommandsError, match=r"status 3\. SQLite cannot write .* flask_uwsgi_persistent"):
        commands.run(layout, "g1", "pre", 10)
