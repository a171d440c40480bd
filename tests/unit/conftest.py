"""Shared by unit tests: a host in a temporary directory, modules run as programs, a server to send load to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments as arguments_module

from tests.support import ROOT
from tests.support.comparison import clients, made
from tests.support.fake_host import FakeHost, TemporaryLayout
from tests.support.load_target import server

__all__ = ["clients", "made", "server"]


@pytest.fixture
def layout(tmp_path: Path) -> TemporaryLayout:
    """Return the paths of an application named ``shop`` below a temporary directory."""
    return TemporaryLayout.below(tmp_path, "shop")


@pytest.fixture
def host(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Answer in place of systemd and uWSGI for an application named ``shop``."""
    return FakeHost(layout, monkeypatch)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory whose path is short enough for UNIX sockets, which are limited to 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="fu-", dir="/tmp") as directory:
        yield Path(directory)


class Ended(Exception):
    """The end of a module, with its result."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result = result


@pytest.fixture
def call_module(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a module of the collection in this process, on the test's own layout."""

    def call(module: ModuleType, check: bool = False, **arguments: Any) -> dict[str, Any]:
        class Module:
            check_mode = check

            def __init__(self, argument_spec: dict[str, Any], supports_check_mode: bool, **conditions: Any) -> None:
                assert supports_check_mode
                # As Ansible does: names, types, choices, required options, and options that exclude each other.
                validator = ArgumentSpecValidator(argument_spec, **conditions)
                found = validator.validate({"app_name": layout.app, **arguments})
                assert not found.error_messages
                self.params = found.validated_parameters

            def exit_json(self, **result: Any) -> None:
                raise Ended({"failed": False, **result})

            def fail_json(self, **result: Any) -> None:
                raise Ended({"failed": True, "changed": False, **result})

        monkeypatch.setattr(module, "AnsibleModule", Module)
        # The module's own, if it has one, and the one that modules share.
        for place in (module, arguments_module):
            monkeypatch.setattr(place, "Layout", lambda app, base=None: layout, raising=place is arguments_module)
        before = os.umask(0o022)
        try:
            module.main()
        except Ended as end:
            return end.result
        finally:
            os.umask(before)
        raise AssertionError("the module did not end")

    return call


@pytest.fixture
def umask() -> Iterator[None]:
    """Give the test an ordinary umask, whatever that of the shell is."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a module of the collection as Ansible does, in a separate process."""

    def run(name: str, check: bool = False, limit: str = "", before: str = "", **arguments: Any) -> dict[str, Any]:
        file = tmp_path / "arguments.json"
        file.write_text(
            json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}), encoding="utf-8"
        )
        module = f"ansible_collections.flaskops.uwsgi.plugins.modules.{name}"
        code = f"{before}\nimport runpy\nrunpy.run_module('{module}', run_name='__main__')"
        done = subprocess.run(
            ["/bin/sh", "-c", f'{limit}exec "$0" -c "$1" {file}', sys.executable, code],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run
