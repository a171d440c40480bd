"""The commands of ``flask_uwsgi_pre_activate``: which host has their record, and what it means for a deploy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...module_utils.traffic import reservation
from ...module_utils.traffic.command_record import DONE, RUNNING, Record
from ..run import reserved

_NAME = "flask_uwsgi_pre_activate"


def keeper(app: str, group: Iterable[str], play: Sequence[str], name_of: Callable[[str], str]) -> str:
    """Return the host that keeps the record of an application: the same in each run, whichever hosts are in it.

    Args:
        app: the application.
        group: the hosts of the group ``flask``; nothing where there is none.
        play: the hosts of the play, those too that ``--limit`` leaves out.
        name_of: what the inventory says a host's application is.

    Returns:
        the first host whose application it is. If the inventory names it for no host, the play does, for all of its
        hosts, and the first one of them keeps it.
    """
    return next((host for host in (*group, *play) if name_of(host) == app), play[0])


def summary(app: str, record: Record | None, generation: str, run: Mapping[str, Any], host: str, keeper: str) -> str:
    """Return what a deploy will do about the commands.

    Args:
        app: the application.
        record: what the keeper has recorded, in which no problem was found.
        generation: the digest of the generation of the host that runs them.
        run: this run of Ansible.
        host: that host.
        keeper: the host that has the record.
    """
    if record and record.covers(generation, run):
        when = "for this generation" if generation in record.generations else "in this deploy"
        return f"{app}: {_NAME} ran {when} on {record.on} at {record.at}, and does not run again"
    if record and record.state == RUNNING:
        return (
            f"{app}: {_NAME} runs again, on {host}: it was not recorded that it ended on {record.on} "
            f"({reservation.describe(record.by)})"
        )
    return f"{app}: {_NAME} runs once for this generation, on {host} (recorded on {keeper})"


def problem(app: str, record: Record | None, break_lock: object) -> str:
    """Return who else is running the commands, with the remedy; an empty string if nobody is.

    Args:
        app: the application.
        record: what the keeper has recorded.
        break_lock: the variable ``flask_uwsgi_break_lock``.
    """
    if not record or record.state == DONE or not reserved.problems(record.by, break_lock):
        return ""
    left = int(record.by.get("lease", reservation.LEASE_S)) - int(record.by["idle_s"])
    return (
        f"{app}: {_NAME} is running on {record.on}, since {record.at}: {reservation.describe(record.by)}. Wait for "
        f"that run to end, then deploy again. Its claim ends in {left} s at the latest (flask_uwsgi_command_timeout "
        "and flask_uwsgi_lease). If you know that the run has ended, run again with -e flask_uwsgi_break_lock=true."
    )
