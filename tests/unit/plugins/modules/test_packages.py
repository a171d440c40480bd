from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunModule = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("programs", "manager", "backend"), [(["apt-get"], "apt", ""), (["dnf", "rpm"], "dnf", "dnf4"), ([], "", "")]
)
def test_what_is_missing_is_returned_with_what_installs_it(
    run_module: RunModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: list[str],
    manager: str,
    backend: str,
) -> None:
    for name in programs:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = run_module("packages", names=["sl-of-nobody"])
    assert (found["manager"], found["backend"], found["changed"]) == (manager, backend, False)
    assert found["missing"] == ["sl-of-nobody"]
