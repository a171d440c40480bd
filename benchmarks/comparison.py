"""Keeps the figures of `make compare` that the documentation quotes: ``python -m benchmarks.comparison``.

Without the single runs, which are in reports/compare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.results import COMPARISON, ROOT, middle, told

CONCURRENCY = 1000


def rows(document: Mapping[str, Any]) -> list[str]:
    """Return the README's lines of the table at 1,000 concurrent."""
    found = []
    for entry in document["summary"]:
        if entry["concurrency"] == CONCURRENCY:
            variant = next(one for one in document["variants"] if one["name"] == entry["variant"])
            name = f"`{variant['mode']}`, {variant['processes']} × {variant['cores']:,}"
            cells = [name, told(entry["requests_per_second"]), middle(entry["p50_ms"]), middle(entry["p99_ms"])]
            found.append(f"| {' | '.join(cells)} | {entry['failed']:,} |")
    return found


def main() -> None:
    """Keep the figures, and print the lines.

    Raises:
        SystemExit: there is no comparison; with the remedy.
    """
    source = ROOT / "reports" / "compare" / "compare.json"
    if not source.is_file():
        raise SystemExit(f"{source.relative_to(ROOT)} is missing: measure first, with `make compare`")
    document = {key: value for key, value in json.loads(source.read_text()).items() if key != "runs"}
    COMPARISON.write_text(json.dumps(document, indent=2) + "\n")
    print("\n".join(rows(document)))


if __name__ == "__main__":
    main()
