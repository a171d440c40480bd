"""Writes the table of libraries of GEVENT.md from the catalogue of the gevent check.

``python docs/gevent_libraries.py`` writes it; with ``--check`` it only checks it (exit status 1: stale).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "GEVENT.md"
CATALOGUE = ROOT / "roles" / "flask_uwsgi" / "files" / "gevent_libraries.yml"
_TABLE = re.compile(r"(?<=-->\n)(?:.*\n)*?(?=<!-- end -->)")
_ORDER = ("blocks", "warning", "ok")


def versions(entry: Mapping[str, Any]) -> str:
    """Return the versions of an entry, in words."""
    since, until = entry.get("since"), entry.get("until")
    return " ".join(filter(None, (f"from {since}" if since else "", f"before {until}" if until else "")))


def table(catalogue: Mapping[str, Any]) -> str:
    """Return the catalogue as a table, blocking libraries first."""
    lines = [
        f"\nCatalogue {catalogue['version']}:\n",
        "| library | verdict | symptom | remedy |",
        "| ------- | ------- | ------- | ------ |",
    ]
    for entry in sorted(catalogue["libraries"], key=lambda entry: _ORDER.index(entry["verdict"])):
        name = f"[{entry['name']}]({entry['reference']}) {versions(entry)}".strip()
        remedied = f" With {entry['remedied_by']} it is ok." if entry.get("remedied_by") else ""
        cells = (name, entry["verdict"], entry["symptom"], entry["remedy"] + "." * bool(remedied) + remedied)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "\n"])


def page(text: str, catalogue: Mapping[str, Any]) -> str:
    """Return the page with the current table."""
    return _TABLE.sub(lambda _: table(catalogue), text, count=1)


def main() -> int:
    """Write the page, or check that it is current."""
    text = PAGE.read_text(encoding="utf-8")
    wanted = page(text, yaml.safe_load(CATALOGUE.read_text(encoding="utf-8")))
    if "--check" in sys.argv[1:]:
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
