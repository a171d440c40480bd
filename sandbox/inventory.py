"""Hosts as Ansible sees them."""

import json
import shlex
from collections.abc import Iterable

from sandbox.host import USER, Record, answering, records
from sandbox.paths import Layout

HINT = "no sandbox host is running: `make deploy` starts one, or pass -i your/inventory"


def ssh_options(layout: Layout) -> list[str]:
    """Return the ssh options that pin the hosts' keys."""
    return [
        "-o",
        f"UserKnownHostsFile={layout.known_hosts}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]


def variables(record: Record, layout: Layout) -> dict[str, str]:
    """Return the connection variables of a host."""
    return {
        "ansible_host": record.address,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(layout.key),
        "ansible_ssh_common_args": shlex.join(ssh_options(layout)),
    }


def by_group(hosts: Iterable[Record]) -> dict[str, list[Record]]:
    """Sort hosts into their groups."""
    groups: dict[str, list[Record]] = {}
    for host in hosts:
        groups.setdefault(host.group, []).append(host)
    return groups


def as_yaml(hosts: Iterable[Record], layout: Layout) -> str:
    """Return a static inventory of these hosts."""
    lines = ["# Written by `python3 -m sandbox up`.", "all:", "  children:"]
    for group, members in by_group(hosts).items():
        lines += [f"    {group}:", "      hosts:"]
        for host in members:
            lines.append(f"        {host.name}:")
            # A JSON string is a YAML string.
            lines += [f"          {k}: {json.dumps(v)}" for k, v in variables(host, layout).items()]
    return "\n".join([*lines, ""])


def as_script_output(hosts: Iterable[Record], layout: Layout) -> str:
    """Return what an inventory script prints for ``--list``."""
    groups = by_group(hosts)
    output: dict[str, object] = {group: {"hosts": [h.name for h in hosts]} for group, hosts in groups.items()}
    everyone = [host for members in groups.values() for host in members]
    output["_meta"] = {"hostvars": {host.name: variables(host, layout) for host in everyone}}
    return json.dumps(output, indent=2)


def running(layout: Layout) -> list[Record]:
    """Return the running hosts that belong to no inventory file of their own."""
    up = answering()
    return [host for host in records(layout).values() if host.inventory is None and host.address in up]
