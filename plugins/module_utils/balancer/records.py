"""Who has drained which server, and since when."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host import files


@dataclass(frozen=True)
class Records:
    """The records of a balancer.

    Args:
        file: where they are kept.
    """

    file: Path

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the run that drained each server, by the server's name.

        Raises:
            DamagedError: the file is not what was written.
        """
        return files.read_object(self.file) if self.file.exists() else {}

    def add(self, names: Collection[str], run: Mapping[str, Any]) -> None:
        """Record a run as the one that drained servers.

        Args:
            names: the servers.
            run: who, home, pid, start, since, what.

        Raises:
            DamagedError: the file is not what was written.
            OSError: the file cannot be written.
        """
        self.replace(self.read() | {name: dict(run) for name in names})

    def remove(self, names: Collection[str]) -> None:
        """Forget that servers were drained.

        Args:
            names: the servers.

        Raises:
            DamagedError: the file is not what was written.
            OSError: the file cannot be written.
        """
        self.replace({name: run for name, run in self.read().items() if name not in names})

    def replace(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Write all records.

        Args:
            records: the run that drained each server.

        Raises:
            DamagedError: the file is not what was written.
            OSError: the file cannot be written.
        """
        if records != self.read():
            files.write(self.file, json.dumps(records, indent=1) + "\n", 0o600)
