"""Filters that show the status and the logs of running services."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import toll
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.status import Status
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import rollback
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import gevent_show
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.deploy_show import seconds
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.table import Table

_COLUMNS = ("host", "mode", "generation", "since", "busy", "flight", "served", "MB", "backlog", "pid")
_NUMBERS = ("busy", "flight", "served", "MB", "backlog")
_TABLE = Table(_COLUMNS, right=_NUMBERS)
_LEGEND = (
    "since: by the host's clock; busy: workers with a request in flight, of all; flight: requests in flight; "
    "served: requests since the start; MB: resident memory of the workers; backlog: connections that wait, of those "
    "that can; pid: whether the pidfile names the master"
)


def status_report(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Gather the hosts' results.

    Args:
        results: the registered result of the module ``flaskops.uwsgi.status`` for each host.

    Returns:
        the status of each host, or a dictionary whose ``error`` says why there is none.
    """
    return {host: result.get("status") or {"error": _reason(result)} for host, result in results.items()}


def _reason(result: Mapping[str, Any]) -> str:
    said = re.sub(r"^Task failed: (Module failed: )?", "", " ".join(str(result.get("msg", "no message")).split()))
    return f"cannot be {'reached' if result.get('unreachable') else 'examined'}: {said}"


def status_table(report: Mapping[str, Mapping[str, Any]], width: int = 92) -> str:
    """Show the hosts' statuses as a table, and below it each host's drift and kept generations.

    Args:
        report: what :func:`status_report` returned.
        width: maximum width in columns; host names are shortened to fit.

    Returns:
        Lines without trailing blanks, so that YAML output shows them as a block.
    """
    found = {host: said["error"] if "error" in said else Status.read(said) for host, said in report.items()}
    rows = [_row(host, status) for host, status in found.items()]
    sizes = _TABLE.sizes([_COLUMNS, *(cells for cells, _ in rows)])
    sizes[0] = min(sizes[0], max(8, width - sum(sizes[1:]) - len(sizes[1:])))
    lines = _TABLE.head(sizes, " ")
    for cells, sentence in rows:
        begun = _TABLE.line(cells, sizes, " ")
        lines += _wrapped(f"{begun} ", sentence, width) if sentence else [begun]
    if any(len(cells) == len(_COLUMNS) for cells, _ in rows):
        lines += ["", *_wrapped("", _LEGEND, width)]
    deployed = [(host, status) for host, status in found.items() if isinstance(status, Status) and status.generation]
    drift = [(host, text) for host, status in deployed for text in status.drift]
    lines += [""] if drift else []
    for host, text in drift:
        lines += _wrapped(f"DRIFT {host}: ", text, width, indent=4)
    lines += [""] if deployed else []
    for host, status in deployed:
        text = f"kept {', '.join(status.kept) or 'none'}; restarted by systemd {_times(status.restarts)}"
        if names := status.secrets.names:
            text += f"; secrets {', '.join(names)} {'encrypted' if status.secrets.encrypted else 'not encrypted'}"
        lines += _wrapped(f"{host}: ", text, width, indent=4)
    return "\n".join(line.rstrip() for line in lines)


def _row(host: str, status: Status | str) -> tuple[list[str], str]:
    """Return the cells of a host's row, and the sentence in place of missing cells."""
    if isinstance(status, str):
        return [host], status
    if not status.generation:
        return [host], "nothing deployed"
    cells = [host, status.mode or status.configured.mode or "-", status.generation]
    if status.state != "active":
        return cells, status.state + (f" since {status.since}" if status.since else "")
    numbers = ["-"] * len(_NUMBERS)
    if observed := status.observed:
        numbers = [
            f"{observed.workers_busy}/{observed.workers}",
            str(observed.busy),
            str(observed.requests),
            f"{observed.rss_mb:.0f}",
            f"{observed.listen_queue}/{observed.backlog}",
        ]
    return [*cells, _short(status.since), *numbers, "true" if status.pidfile_true else "FALSE"], ""


def _short(since: str) -> str:
    """Shorten systemd's ``Tue 2026-11-24 09:14:01 UTC`` to ``11-24 09:14``."""
    found = re.search(r"\d{4}-(\d\d-\d\d \d\d:\d\d)", since)
    return found[1] if found else since


def _wrapped(begun: str, text: str, width: int, indent: int | None = None) -> list[str]:
    """Wrap a text that follows the beginning of a line; further lines are aligned below it, or at an indent."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=begun,
        subsequent_indent=" " * (len(begun) if indent is None else indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def logs_page(logs: Mapping[str, Any], host: str, app: str, since: str = "") -> str:
    """Show what an application logged on a host, its errors first.

    Args:
        logs: what the module ``flaskops.uwsgi.logs`` returned.
        host: the host's name.
        app: the application's name.
        since: the time before which lines were left out, if any.

    Returns:
        Lines without trailing blanks, so that YAML output shows them as a block. Times are UTC, followed by the
        process id, or ``systemd``.
    """
    entries, errors = logs["lines"], logs["errors"]
    when = f" since {since}" if since else ""
    if not entries:
        if not logs["deployed"]:
            return f"{host}: {app} was never deployed here, or was removed, and the journal has no line of it{when}"
        return f"{host}: the journal has no line of {app}{when}"
    found = _count(len(errors), "error") if errors else "no error"
    lines = [f"{host}: {found} in {app}'s last {_count(len(entries), 'line')}{when}"]
    lines += [f"from {entries[0]['at']} to {entries[-1]['at']}", ""]
    if errors:
        lines += [f"errors ({len(errors)}):"]
        for error in errors:
            first, *below = error["lines"]
            lines += [f"{error['at']} [{error['by']}] {first}", *(f"    {line}" for line in below)]
        lines += [""]
    lines += [f"last {_count(len(entries), 'line')}:"]
    lines += [f"{entry['at']} [{entry['by']}] {entry['text']}" for entry in entries]
    return "\n".join(line.rstrip() for line in lines)


def serving_summary(done: Mapping[str, Any], state: str, check: bool = False) -> str:
    """Return the outcome of a start, a stop or a restart.

    Args:
        done: what the module ``flaskops.uwsgi.serving`` returned.
        state: the requested state.
        check: whether it ran in check mode.
    """
    what = f"{'would be ' if check else ''}{state}" if done["changed"] else f"was already {state}"
    said = [f"generation {done['generation']} {what}{seconds(done.get('steps') or {})}"]
    return "\n".join([*said, *toll.sentences(done.get("toll") or {})])


def plan_rollback(status: Mapping[str, Any], app: str, to: str) -> dict[str, Any]:
    """Plan the rollback of one host, see :func:`rollback.plan`.

    Args:
        status: its status, as the module ``flaskops.uwsgi.status`` returns it.
        app: the application.
        to: a generation, or ``previous``.

    Returns:
        the fields of :class:`rollback.Rollback`.
    """
    return asdict(rollback.plan(Status.read(status), app, to))


def rollback_conflicts(plans: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Compare the plans of all hosts, see :func:`rollback.conflicts`.

    Args:
        plans: what :func:`plan_rollback` returned for each host, empty if the host was not asked.

    Returns:
        why an application cannot be rolled back, by application.
    """
    return rollback.conflicts({host: rollback.Rollback(**found) for host, found in plans.items() if found})


def rollback_summary(plan: Mapping[str, Any], swap: Mapping[str, Any]) -> str:
    """Return the outcome of a rollback, and how to go forward again.

    Args:
        plan: what :func:`plan_rollback` returned.
        swap: what the module ``flaskops.uwsgi.swap`` returned, or its skipped result.
    """
    if plan["settled"] or plan["before"] == plan["to"]:
        return f"{plan['to']} serves"
    moved = f"{plan['before']} -> {plan['to']}{seconds(swap.get('steps') or {})}"
    said = [f"{moved}; go forward again with -e to={plan['before']}, or with the next deploy"]
    return "\n".join([*said, *toll.sentences(swap.get("toll") or {})])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "gevent_table": gevent_show.gevent_table,
            "logs_page": logs_page,
            "rollback": plan_rollback,
            "rollback_conflicts": rollback_conflicts,
            "rollback_summary": rollback_summary,
            "serving_summary": serving_summary,
            "status_report": status_report,
            "status_table": status_table,
        }
