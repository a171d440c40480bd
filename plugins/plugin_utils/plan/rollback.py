"""Decides the target of a rollback for each of several hosts, on the controller, before any host is changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ...module_utils.traffic.status import Status

PREVIOUS = "previous"


@dataclass(frozen=True)
class Rollback:
    """The plan of a rollback on one host.

    Args:
        app: the application.
        asked: a generation, or ``previous``.
        to: the generation that will serve; None if there is none.
        before: the generation that serves now.
        settled: whether there is nothing to do.
        problems: why it is not possible, each with its remedy.
        text: the plan for people.
        listen: the address that the target is served on; empty if that is unknown.
        moves: whether that is another address than the one that serves now.
        platform: what the serving generation was built for; empty if unknown.
    """

    app: str
    asked: str
    to: str | None
    before: str | None
    settled: bool
    problems: list[str]
    text: str
    listen: str = ""
    moves: bool = False
    platform: str = ""


def target(status: Status, to: str) -> str | None:
    """Return the generation that a host should serve, or None if there is none.

    Args:
        status: what serves on the host.
        to: a generation, or ``previous``.
    """
    if to == PREVIOUS:
        return status.rollback
    return to if to in status.kept else None


def plan(status: Status, app: str, to: str) -> Rollback:
    """Plan the rollback of one host.

    Args:
        status: what serves on the host.
        app: the application.
        to: a generation, or ``previous``.
    """
    wanted, current = target(status, to), status.generation
    kept = ", ".join(status.kept) or "none"
    problems = []
    if current is None:
        problems.append("nothing is deployed on this host: deploy first")
    elif wanted is None and to == PREVIOUS:
        problems.append(f"flask_uwsgi_rollback_to={to}: no generation served here before {current}; kept are: {kept}")
    elif wanted is None:
        problems.append(f"flask_uwsgi_rollback_to={to} is not on this host: set it to one of those kept: {kept}")
    settled = wanted == current and not status.drift
    before, after = (status.addresses.get(name or "") or "" for name in (current, wanted))
    text = _text(status, wanted, settled)
    moves = before != after and bool(after)
    return Rollback(app, to, wanted, current, settled, problems, text, after, moves, status.platform)


def conflicts(plans: Mapping[str, Rollback]) -> dict[str, str]:
    """Return why an application cannot be rolled back, for each application whose hosts have different targets.

    The same release has another name on another platform, so only hosts of one platform are compared.

    Args:
        plans: the plans by host.
    """
    platforms: dict[str, set[str]] = defaultdict(set)
    for found in plans.values():
        platforms[found.app].add(found.platform)
    targets: dict[tuple[str, str], dict[str, Rollback]] = defaultdict(dict)
    for host, found in plans.items():
        # A host whose platform is unknown is compared with those of each.
        for platform in [found.platform] if found.platform else sorted(platforms[found.app] - {""} or {""}):
            targets[found.app, platform][host] = found
    return {
        app: _conflict(hosts) for (app, _), hosts in targets.items() if len({each.to for each in hosts.values()}) > 1
    }


def _conflict(plans: Mapping[str, Rollback]) -> str:
    asked = " or ".join(dict.fromkeys(each.asked for each in plans.values()))
    where = ", ".join(f"{host}: {each.to or 'none'}" for host, each in plans.items())
    return f"flask_uwsgi_rollback_to={asked} is not the same on every host ({where}): name one (-e to=…)"


def _text(status: Status, wanted: str | None, settled: bool) -> str:
    others = [name for name in status.kept if name != wanted]
    further = f"; also kept: {', '.join(others)} (-e to=…)" if others else ""
    if settled:
        return f"nothing to do: generation {wanted} already serves{further}"
    if wanted == status.generation:
        return f"repair of generation {wanted}: {'; '.join(status.drift)}"
    return f"{status.generation} -> {wanted}; traffic moves once it is proven{further}"
