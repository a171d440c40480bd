"""Hosts as Ansible sees them."""

import json
import shlex
from collections.abc import Iterable

from sandbox.host import USER, Record, answering, records
from sandbox.paths import Layout

HINT = "no sandbox host is running: `make deploy` starts one, or pass -i your/inventory"


def ssh_options(layout: Layout) -> list[str]:
    """Return the ssh options that pin the hosts' keys."""
    known = f"-oUserKnownHostsFile={layout.known_hosts}"
    return [known, "-oGlobalKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"]


def variables(record: Record, layout: Layout) -> dict[str, str]:
    """Return the connection variables of a host."""
    return {
        "ansible_host": record.address,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(layout.key),
        "ansible_ssh_common_args": shlex.join(ssh_options(layout)),
    }


def as_yaml(hosts: Iterable[Record], layout: Layout) -> str:
    """Return a static inventory of these hosts."""
    groups: dict[str, list[str]] = {}
    for host in hosts:
        lines = groups.setdefault(host.group, [])
        lines.append(f"        {host.name}:")
        # A JSON string is a YAML string.
        lines += [f"          {key}: {json.dumps(value)}" for key, value in variables(host, layout).items()]
    text = ["# Written by `python3 -m sandbox up`.", "all:", "  children:"]
    for group, lines in groups.items():
        text += [f"    {group}:", "      hosts:", *lines]
    return "\n".join([*text, ""])


def as_script_output(hosts: Iterable[Record], layout: Layout) -> str:
    """Return what an inventory script prints for ``--list``."""
    groups: dict[str, dict[str, list[str]]] = {}
    everyone: dict[str, dict[str, str]] = {}
    for host in hosts:
        groups.setdefault(host.group, {"hosts": []})["hosts"].append(host.name)
        everyone[host.name] = variables(host, layout)
    return json.dumps({**groups, "_meta": {"hostvars": everyone}}, indent=2)


def running(layout: Layout) -> list[Record]:
    """Return the running hosts that have no inventory file of their own."""
    up = answering()
    return [host for host in records(layout).values() if host.inventory is None and host.address in up]


def as_table(layout: Layout) -> str:
    """Return a table of all hosts, for people."""
    up = answering()
    rows = [("NAME", "SUITE", "GROUP", "ADDRESS", "STATE", "PUBLISHED")]
    for host in records(layout).values():
        state = "running" if host.address in up else "stopped"
        rows.append((host.name, host.suite, host.group, host.address, state, " ".join(host.publish)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
