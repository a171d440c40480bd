"""Compares the plans of the hosts that are deployed together: once for all of them, and not once for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...module_utils.host import address
from ..report.hosts import named
from .plan import DEPLOY, NOTHING, RELEASE, RESOLVE, Plan


@dataclass(frozen=True)
class Fleet:
    """What several hosts have in common.

    Args:
        leaders: for each application the first host that gets another generation: it migrates and checks for all of
            them. If all are only repaired, the first of those.
        keepers: for each application with commands to run before it is activated, the host that has their record.
        decisions: for each host that does not know it, what ``auto`` was decided to be for its artifact on another.
        builders: the hosts for which something has to be built first, one for each lock and each wheelhouse.
        deploying: the hosts that get a generation, or are repaired.
        text: the plans in words; hosts with the same plan share it.
    """

    leaders: dict[str, str]
    keepers: dict[str, str]
    decisions: dict[str, dict[str, Any]]
    builders: list[str]
    deploying: list[str]
    text: list[str]


def compared(plans: Sequence[Plan], keeper: Callable[[str], str]) -> Fleet:
    """Return what hosts without problems have in common.

    Args:
        plans: one for each host, in the order of the play.
        keeper: returns the host that keeps the record of an application's commands.
    """
    leading: dict[str, Plan] = {}
    # Of a host that is only repaired nothing is new that could be proven.
    for plan in sorted(plans, key=lambda plan: plan.repairs):
        if plan.work not in (NOTHING, RELEASE):
            leading.setdefault(plan.app_name, plan)
    known = {(plan.app_name, artifact): made for plan in reversed(plans) for artifact, made in plan.decided.items()}
    decisions = {
        plan.host: known[plan.app_name, plan.artifact]
        for plan in plans
        if plan.undecided and (plan.app_name, plan.artifact) in known
    }
    leaders = {app: plan.host for app, plan in leading.items()}
    keepers = {app: plan.keeper or keeper(app) for app, plan in leading.items() if plan.commands}
    builders = {plan.builds: plan.host for plan in reversed(plans) if plan.builds and plan.work in (DEPLOY, RESOLVE)}
    deploying = [plan.host for plan in plans if plan.work == DEPLOY]
    text = _grouped((plan.host, plan.text) for plan in plans)
    return Fleet(leaders, keepers, decisions, sorted(builders.values()), deploying, text)


def problems(plans: Sequence[Plan]) -> list[str]:
    """Return why hosts cannot be deployed to together: what is wrong with each, then where two of them collide."""
    if len(plans) == 1:
        return plans[0].problems
    own = _grouped((plan.host, plan.problems) for plan in plans if plan.problems)
    return own or list(dict.fromkeys(_collisions(plans)))


def _grouped(texts: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return texts with the names of their hosts, each text once."""
    hosts: dict[tuple[str, ...], list[str]] = {}
    for host, lines in texts:
        hosts.setdefault(tuple(lines), []).append(host)
    found = []
    for lines, names in hosts.items():
        found += [f"{named(names)}: {lines[0]}", *(f"  {line}" for line in lines[1:])]
    return found


def _collisions(plans: Sequence[Plan]) -> Iterable[str]:
    machines: dict[str, list[Plan]] = {}
    for plan in plans:
        machines.setdefault(plan.machine, []).append(plan)
    for shared in machines.values():
        for place, plan in enumerate(shared):
            for other in shared[:place]:
                yield from _same(other, plan)


def _same(plan: Plan, other: Plan) -> Iterable[str]:
    """Yield what an application wants that another one of the same machine wants, too."""
    app, its_app, both = plan.app_name, other.app_name, f"{plan.host}, {other.host}"
    (bind, port, user), (its_bind, its_port, its_user) = plan.wants, other.wants
    wanted = address.Address(bind, int(port))
    if its_app == app:
        yield (
            f"flask_uwsgi_app_name={app} is wanted by {plan.host} and by {other.host}, which are one host: "
            "give each application of a host a name of its own"
        )
        return
    if its_user == user:
        yield (
            f"flask_uwsgi_user={user} is wanted by {app} and by {its_app} on one host ({both}): "
            "give each application of a host an account of its own"
        )
    if wanted.collides(address.Address(its_bind, int(its_port))):
        what, own = (f"bind={bind}", "path") if wanted.path else (f"port={port}", "port")
        yield (
            f"flask_uwsgi_{what} is wanted by {app} and by {its_app} on one host ({both}): "
            f"give each application of a host a {own} of its own"
        )
