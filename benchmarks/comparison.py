"""Copies the figures of comparisons that the documentation quotes, and a chart: ``python -m benchmarks.comparison``.

Leaves out the single runs, which stay in reports/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.results import COMPARISON, ROOT
from benchmarks.tables import middle, shown

PICTURE = ROOT / "docs" / "comparison.svg"
CONCURRENCY = 1000


def rows(document: Mapping[str, Any]) -> list[str]:
    """Return the rows of the documentation's table at 1,000 concurrent requests."""
    found = []
    for entry in document["summary"]:
        if entry["concurrency"] == CONCURRENCY:
            variant = next(one for one in document["variants"] if one["name"] == entry["variant"])
            name = f"`{variant['mode']}`, {variant['processes']} × {variant['cores']:,}"
            name += ", uWSGI as released" if variant.get("stock") else ""
            cells = [name, shown(entry["requests_per_second"]), middle(entry["p50_ms"]), middle(entry["p99_ms"])]
            found.append(f"| {' | '.join(cells)} | {entry['failed']:,} |")
    return found


def picture(document: Mapping[str, Any]) -> str:
    """Return the throughput chart as a separate file, in the colours of the page."""
    # Imported here, because benchmarks.results makes the collection importable.
    from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare_charts

    svg = compare_charts.served({**document, "runs": []})["throughput"][0]["svg"]
    colours = (ROOT / "templates" / "report.css").read_text().partition("* {")[0]
    own = f"{colours}text {{ font-family: system-ui, sans-serif }}\n"
    return svg.replace("<svg ", '<svg width="640" ', 1).replace(">", f"><style>\n{own}</style>", 1)


def main() -> None:
    """Write the figures and the chart, and print the rows.

    Raises:
        SystemExit: there is no comparison; with the remedy.
    """
    source = ROOT / "reports" / "compare" / "compare.json"
    if not source.is_file():
        raise SystemExit(f"{source.relative_to(ROOT)} is missing: measure first, with `make compare`")
    document = {key: value for key, value in json.loads(source.read_text()).items() if key != "runs"}
    COMPARISON.write_text(json.dumps(document, indent=2) + "\n")
    PICTURE.write_text(picture(document))
    print("\n".join(rows(document)))


if __name__ == "__main__":
    main()
