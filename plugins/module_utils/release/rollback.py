"""Decides the target of a rollback for each of several hosts, on the controller, before any host is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREVIOUS = "previous"


def target(status: Mapping[str, Any], to: str) -> str | None:
    """Return the generation that a host should serve, or None if there is none.

    Args:
        status: what the module ``flaskops.uwsgi.status`` returned.
        to: a generation, or ``previous``.
    """
    if to == PREVIOUS:
        return status.get("rollback")
    return to if to in status.get("kept", ()) else None


def plan(statuses: Mapping[str, Mapping[str, Any]], host: str, to: str) -> dict[str, Any]:
    """Plan the rollback of one host.

    Args:
        statuses: the status of each host of the play, empty if unknown.
        host: the host to plan.
        to: a generation, or ``previous``.

    Returns:
        ``to`` and ``before``, two generations; ``settled``, whether there is nothing to do; ``problems``, each with its
        remedy; ``text``, the plan for people.
    """
    known = {name: status for name, status in statuses.items() if status}
    status = known[host]
    wanted, current = target(status, to), status["generation"]
    kept = ", ".join(status["kept"]) or "none"
    problems = []
    if current is None:
        problems.append("nothing is deployed on this host: deploy first")
    elif wanted is None and to == PREVIOUS:
        problems.append(f"flask_uwsgi_rollback_to={to}: no generation served here before {current}; kept are: {kept}")
    elif wanted is None:
        problems.append(f"flask_uwsgi_rollback_to={to} is not on this host: set it to one of those kept: {kept}")
    targets = {name: target(other, to) for name, other in known.items()}
    if len(set(targets.values())) > 1:
        where = ", ".join(f"{name}: {goal or 'none'}" for name, goal in targets.items())
        problems.append(f"flask_uwsgi_rollback_to={to} is not the same on every host ({where}): name one (-e to=…)")
    settled = wanted == current and not status["drift"]
    text = _text(status, wanted, settled)
    return {"to": wanted, "before": current, "settled": settled, "problems": problems, "text": text}


def _text(status: Mapping[str, Any], wanted: str | None, settled: bool) -> str:
    others = [name for name in status["kept"] if name != wanted]
    further = f"; also kept: {', '.join(others)} (-e to=…)" if others else ""
    if settled:
        return f"nothing to do: generation {wanted} already serves{further}"
    if wanted == status["generation"]:
        return f"repair of generation {wanted}: {'; '.join(status['drift'])}"
    return f"{status['generation']} -> {wanted}; traffic moves once it is proven{further}"
