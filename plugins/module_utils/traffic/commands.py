"""Runs a generation's own commands, such as a migration, in a unit of their own, as the service would run them."""

from __future__ import annotations

from collections.abc import Callable

from ..failure import deaths, remedies
from ..failure.explain import raised, relevant_lines
from ..host import kinds, systemd, temporary
from ..host.foreign import printables
from ..host.layout import Layout
from ..release import credentials
from ..release import generation as gen
from ..release.manifest import Manifest
from .stopping import end_leftovers

_CAUSES = {
    "timeout": "it did not end within {seconds:.0f} s (flask_uwsgi_command_timeout)",
    "exit-code": "it exited with status {status}",
    "signal": "it was killed by signal {status}",
    "oom-kill": "the kernel killed it because it ran out of memory (flask_uwsgi_memory_mb)",
}


class CommandsError(Exception):
    """A command failed, or took too long."""


def run(layout: Layout, generation: str, when: str, seconds: float) -> list[str]:
    """Run the commands in order, until one fails.

    Args:
        layout: the application's paths.
        generation: the generation whose environment and release they use; it need not serve.
        when: ``pre`` or ``post``.
        seconds: how long they may take in total.

    Returns:
        what they printed.

    Raises:
        CommandsError: one failed or took too long; the message has its last lines.
        SystemdError: systemd does not respond.
    """
    # Never at the same time as those of another generation. If a killed run left the same list running, it is waited
    # for: systemd lets a start wait for one that is under way.
    end_leftovers(layout, generation)
    kind = kinds.BY_NAME[when]
    unit = layout.unit(kind, generation)
    targets = gen.targets(layout, generation, kind)
    end = systemd.cursor()
    found = gen.manifest(layout, generation)
    names = found.secrets.names if found else ()
    # A command may print the values that it was given.
    blot = credentials.blotter(layout.generations / generation, names)
    with temporary.installed(layout, layout.unit(kind, "*"), targets, join=True):
        try:
            systemd.systemctl("start", unit, timeout=seconds + temporary.GRACE)
        except systemd.SystemdError as error:
            # Includes systemd's own lines: it may not even have started them.
            logged = printables(map(blot, systemd.journal(unit, 200, end)))
            refused = deaths.explain(logged, systemd.show(unit, *deaths.PROPERTIES), str(layout.root))
            printed = _printed(unit, end, blot)
            raise CommandsError(_reason(unit, when, seconds, printed, refused, found)) from error
        return _printed(unit, end, blot)


def _printed(unit: str, after: str | None, blot: Callable[[str], str]) -> list[str]:
    return printables(map(blot, temporary.printed(unit, after)))


def _reason(unit: str, when: str, seconds: float, printed: list[str], refused: str, manifest: Manifest | None) -> str:
    found = systemd.show(unit, "Result", "ExecMainStatus")
    cause = _CAUSES.get(found["Result"], "systemd says {result}").format(
        seconds=seconds, status=found["ExecMainStatus"], result=found["Result"]
    )
    # The output of earlier commands does not explain the failure.
    begun = [number for number, line in enumerate(printed) if line.startswith("+ ")]
    own = printed[begun[-1] + 1 :] if begun else printed
    command = f"`{printed[begun[-1]].removeprefix('+ ')}` of " if begun else ""
    remedy = "Correct it, and deploy again."
    if refused:
        cause, remedy = f"{cause}. {refused[0].upper()}{refused[1:]}", "Then deploy again."
    elif exception := raised(own, manifest):
        why = exception.removesuffix(f". {remedies.MEND}")
        cause, remedy = f"{cause}: {why}", remedy if why != exception else "Then deploy again."
    shown = relevant_lines(own)
    return "\n".join(
        (
            f"{command}flask_uwsgi_{when}_activate failed: {cause}. {remedy}",
            *(["Its last lines:", *(f"    {line}" for line in shown)] if shown else ["It printed nothing."]),
        )
    )
