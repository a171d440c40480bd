"""Sites in maintenance: what HAProxy knows of them, and the file from which the next process learns it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..host import files
from .runtime import Runtime


def read(file: Path) -> dict[str, str]:
    """Return the state of each site that is in maintenance, from the file.

    Args:
        file: HAProxy's map.

    Raises:
        OSError: it cannot be read.
    """
    lines = (line.split() for line in file.read_text().splitlines())
    return {fields[0]: fields[1] for fields in lines if len(fields) == 2}


def served(runtime: Runtime, file: Path) -> dict[str, str]:
    """Return the state of each site that is in maintenance, as HAProxy serves it.

    Args:
        runtime: HAProxy.
        file: its map.

    Raises:
        RuntimeAPIError: HAProxy does not answer.
    """
    lines = (line.split() for line in runtime.ask(f"show map {file}").splitlines())
    return {fields[1]: fields[2] for fields in lines if len(fields) == 3 and re.fullmatch("0x[0-9a-f]+", fields[0])}


def change(runtime: Runtime, file: Path, wanted: Mapping[str, str]) -> None:
    """Put sites in maintenance, or out of it, without a reload.

    Args:
        runtime: HAProxy.
        file: its map, which is written first: a process that starts meanwhile reads it.
        wanted: the state of each site that changes.

    Raises:
        RuntimeAPIError: HAProxy does not answer, or refuses it.
        OSError: the file cannot be written.
    """
    states = {site: state for site, state in {**read(file), **wanted}.items() if state != "off"}
    files.write(file, "".join(f"{site} {state}\n" for site, state in sorted(states.items())))
    known = served(runtime, file)
    for site, state in wanted.items():
        if state == "off":
            if site in known:
                runtime.command(f"del map {file} {site}")
        elif site in known:
            runtime.command(f"set map {file} {site} {state}")
        else:
            runtime.command(f"add map {file} {site} {state}")
