"""Filters of the role flask_uwsgi: they compute on the controller, so that hosts are asked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import toll
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import hosts
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.deploy_show import seconds
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import reserved


def gevent_refusal(check: Mapping[str, Any]) -> str:
    """Explain why a deploy in gevent mode is refused, and what to do.

    Args:
        check: the result of the gevent check.
    """
    if check.get("common"):
        return common_failure(check)
    lines = ["flask_uwsgi_mode=gevent breaks this application, says the gevent check:"]
    if check.get("failure") == "hangs":
        lines = ["The gevent check could not load this application, of which gevent need not be the cause:"]
    for name, part in check["checks"].items():
        for finding in part["findings"]:
            if finding["level"] == "blocks":
                lines.append(f"  {name}: {finding['what']}")
                lines += [f"      {line}" for line in finding["evidence"][:12]]
                lines.append(f"      remedy: {finding['remedy']}")
    lines.append(
        "Mend it, or deploy with -e mode=threads, or let it pass with -e flask_uwsgi_gevent_check=warn. "
        "The running release was not changed."
    )
    return "\n".join(lines)


def common_failure(check: Mapping[str, Any]) -> str:
    """Explain why an application is refused that would fail in threads mode, too.

    Args:
        check: the result of the gevent check.
    """
    findings = check["checks"]["imports"]["findings"]
    evidence: list[str] = next((found["evidence"] for found in findings if found["level"] == "blocks"), [])
    what = "Its calls, the innermost first:" if check.get("failure") == "hangs" else "Its last log lines:"
    return "\n".join(
        (
            f"{check['cause']}.",
            *((what, *(f"    {line}" for line in evidence)) if evidence else ()),
            "This is not gevent's doing: threads mode would fail in the same way. The running release was not changed.",
        )
    )


def deploy_summary(plans: Sequence[Mapping[str, Any]], swaps: Sequence[Mapping[str, Any]]) -> str:
    """Show what a deploy came to, in a line for each host. Many hosts with the same change share a line.

    Args:
        plans: the plan of each host that it changes.
        swaps: for each of these hosts the result of the module ``swap``; empty where it did not run.
    """
    changes: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for plan, swap in zip(plans, swaps, strict=True):
        alone = "" if len(plans) > hosts.MOST else plan["host"]
        changes.setdefault((_change(plan), alone), {})[plan["host"]] = swap
    return "\n".join(line for (what, _), swapped in changes.items() for line in _lines(what, swapped))


def _change(plan: Mapping[str, Any]) -> str:
    named = f"{plan['generation']} ({plan['mode']})"
    if plan["repairs"]:
        return f"{named} repaired: {'; '.join(plan['drift'])}"
    return f"{plan['serving'] or 'nothing'} -> {named}"


def _lines(what: str, swaps: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what was done to hosts, and what was cut there; the swaps are by host."""
    yield f"{hosts.named(list(swaps))}: {what}{seconds(*(swap.get('steps', {}) for swap in swaps.values()))}"
    cut: dict[str, list[str]] = {}
    for host, swap in swaps.items():
        for said in toll.sentences(swap.get("toll") or {}):
            cut.setdefault(said, []).append(host)
    yield from (f"{hosts.named(names)}: {said}" for said, names in cut.items())


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "common_failure": common_failure,
            "deploy_summary": deploy_summary,
            "gevent_refusal": gevent_refusal,
            "lock_problems": reserved.problems,
            "replaceable": reserved.replaceable,
        }
