"""Foreign text, made safe for an operator's terminal."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.foreign import capture, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("over\rwritten", "over\\rwritten"),
        ("two\nlines", "two\\nlines"),
        ("\x9b31m", "\\x9b31m"),
        ("\x00\x7f", "\\x00\\x7f"),
        # Reverses the direction of text, has no width, is a byte order mark, ends a line.
        ("a\u202egnp", "a\\u202egnp"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("a\u200bb\u200d", "a\\u200bb\\u200d"),
        ("\ufeffa", "\\ufeffa"),
        ("a\u2028b", "a\\u2028b"),
        ("a\u00a0b", "a\\xa0b"),
        ("\U000e0041", "\\U000e0041"),
        # Characters of ordinary text are kept.
        ("Grüße 🙂 日本", "Grüße 🙂 日本"),
        ("a\tb  ", "a       b"),
        ("\ufffd", "\ufffd"),
    ],
)
def test_control_and_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_a_long_line_is_cut_and_marked() -> None:
    assert printable("x" * 105, 100) == "x" * 100 + " … (5 more characters)"


# Commands.


def run(code: str, timeout: float = 30, most: int = 1 << 20) -> subprocess.CompletedProcess[str]:
    return capture([sys.executable, "-c", code], timeout, most)


def test_output_of_any_bytes_is_read() -> None:
    done = run(r"import os; os.write(1, b'caf\xe9\n'); os.write(2, b'\xff'); raise SystemExit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "caf\ufffd\n", "\ufffd")


def test_endless_output_is_cut() -> None:
    done = run("import os\nwhile True: os.write(1, b'x' * 65536)")
    assert (done.returncode, len(done.stdout)) == (0, 1 << 20)


def test_endless_error_output_is_cut_and_does_not_stop_the_command() -> None:
    done = run("import os\nfor _ in range(100): os.write(2, b'x' * 65536)\nprint('done')")
    assert done.stdout == "done\n" and len(done.stderr) <= 1 << 17


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run("import time\nprint('x', flush=True)\ntime.sleep(60)", timeout=1)
    assert time.monotonic() - started < 20


def test_undecodable_output_of_systemd_s_tools_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\nprintf 'caf\\351\\n-- cursor: s=1\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert systemd.cursor() == "s=1"


def test_the_error_output_of_a_tool_is_made_printable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nprintf 'no \\033[31m\\377\\n' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(systemd.SystemdError) as caught:
        systemd.systemctl("stop", "x")
    assert str(caught.value) == "`systemctl stop x` failed: no \\x1b[31m\ufffd"


def test_a_missing_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(systemd.SystemdError, match=r"`systemctl` cannot be run: .*No such file"):
        systemd.systemctl("stop", "x")
