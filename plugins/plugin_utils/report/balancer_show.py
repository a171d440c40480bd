"""Shows what load balancers do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .table import Table

_HEAD = ("balancer", "application", "host", "state", "check", "requests", "waiting", "weight")
_TABLE = Table(_HEAD, right=("requests", "waiting", "weight"))
_CERTIFICATES_HEAD = ("balancer", "certificate for", "valid until", "serial")
_CERTIFICATES = Table(_CERTIFICATES_HEAD)
_HELD = {"on": "shows its maintenance page", "pause": "lets requests wait"}


def status(balancers: Mapping[str, Mapping[str, Any]], differ: Collection[str] = ()) -> str:
    """Show the servers of all balancers in a table, and below it what needs attention.

    Args:
        balancers: the result of the module ``balancer_status``, or why there is none, by balancer.
        differ: the balancers whose configuration is not that of the inventory.
    """
    rows: list[Sequence[str]] = [_HEAD]
    certificates: list[Sequence[str]] = [_CERTIFICATES_HEAD]
    said = []
    for name, found in balancers.items():
        # The play goes on without it, so nothing marks the result as failed.
        if "servers" not in found:
            said.append(f"{name}: {found['msg']}")
            continue
        rows += [
            (
                name, one["backend"], one["name"], one["status"], one["check"],
                str(one["sessions"]), str(one["queued"]), str(one["weight"]),
            )
            for one in found["servers"]
        ]  # fmt: skip
        certificates += [
            (name, ", ".join(one["names"]) or one["file"], one["ends"], one["served"]) for one in found["certificates"]
        ]
        said += [f"{name}: {text}" for one in found["certificates"] for text in _attention(one)]
        said += [f"{name}: {text}" for text in found["renewals"]]
        said += [f"{name}: {host} was drained {drain(run)}" for host, run in found["drained"].items()]
        said += [f"{name}: {site} {_HELD[run['state']]}, {drain(run)}" for site, run in found["maintenance"].items()]
        if left := len(found["leaving"]):
            verb = "process of HAProxy still has" if left == 1 else "processes of HAProxy still have"
            said.append(f"{name}: {left} older {verb} connections, after a reload")
        if name in differ:
            said.append(f"{name}: its configuration is not that of the inventory: run playbooks/load_balancer.yml")
    return "\n".join([*_lines(_TABLE, rows), *_lines(_CERTIFICATES, certificates), *said])


def _lines(table: Table, rows: Sequence[Sequence[str]]) -> list[str]:
    sizes = table.sizes(rows)
    return [table.line(row, sizes).rstrip() for row in rows] if len(rows) > 1 else []


def _attention(certificate: Mapping[str, Any]) -> Iterator[str]:
    names = ", ".join(certificate["names"]) or certificate["file"]
    if certificate["temporary"]:
        yield f"visitors of {names} get a temporary certificate, which browsers refuse"
    if not certificate["serial"]:
        yield f"{certificate['file']} cannot be read, so HAProxy would not start again: run playbooks/load_balancer.yml"
    elif certificate["serial"] != certificate["served"]:
        yield (
            f"ATTENTION: visitors of {names} get the certificate {certificate['served']}, and not the one on the disk, "
            f"{certificate['serial']}: run playbooks/load_balancer.yml, or reload HAProxy"
        )


def drain(run: Mapping[str, Any]) -> str:
    """Say who drained a host or set a site's state, since when, and what for.

    Args:
        run: who, since and what, as recorded.
    """
    return f"by {run.get('who', 'somebody')} since {run.get('since', 'an unknown time')} ({run.get('what', 'unknown')})"
