"""Shows the result of a gevent check as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils.gevent.probe import FAST_MS
from .table import Table

_TABLE = Table(("check", "verdict", "found"))
_SIGNS = {"note": "note", "warning": "WARNING", "blocks": "BLOCKS"}


def gevent_table(check: Mapping[str, Any], host: str, width: int = 100) -> str:
    """Show the verdict of each check, and below it the findings, with evidence and remedy.

    Args:
        check: what the module ``flaskops.uwsgi.gevent_check`` returned.
        host: the host's name.
        width: maximum width of the text in columns; a file name is never broken.

    Returns:
        Lines without trailing blanks, so that YAML output shows them as a block.
    """
    lines = [f"{host}: gevent mode of generation {check['generation']}: {check['verdict']}", ""]
    rows = [(name, found["verdict"], _summary(name, found, check)) for name, found in check["checks"].items()]
    # Wide enough for every verdict, so that the texts of several hosts align.
    sizes = _TABLE.sizes([*rows, ("", "warning")])
    lines += [_TABLE.line(row, sizes) for row in rows]
    for name, found in check["checks"].items():
        for finding in found["findings"]:
            lines += ["", *_finding(name, finding, width)]
    return "\n".join(line.rstrip() for line in lines)


def _summary(name: str, found: Mapping[str, Any], check: Mapping[str, Any]) -> str:
    if name == "cooperation":
        if check.get("single_ms") is None:
            return f"GET {check['path']}: not measured"
        shares = f"overlap {check['overlap']:.0%}, computing {check['cpu_share']:.0%}"
        if check["least_ms"] < FAST_MS:
            shares = "too short to see it wait"
        return (
            f"GET {check['path']}: {check['least_ms']:.1f} ms alone, {check['requests']} at once "
            f"{check['burst_ms']:.1f} ms ({shares})"
        )
    count = len(found["findings"])
    return f"{count} finding{'' if count == 1 else 's'}" if count else "nothing found"


def _finding(name: str, finding: Mapping[str, Any], width: int) -> Iterator[str]:
    yield from _wrapped(f"{_SIGNS[finding['level']]} {name}: ", finding["what"], width)
    for line in finding["evidence"]:
        yield f"    {line}"[: max(width, 120)]
    if finding["remedy"]:
        yield from _wrapped("  -> ", finding["remedy"], width)


def _wrapped(begun: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        " ".join(str(text).split()),
        width,
        initial_indent=begun,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
