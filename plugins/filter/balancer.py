"""Filters of the role load_balancer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer import pair
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import balancer_show
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller


def balancer_failures(results: Sequence[Mapping[str, Any]]) -> str:
    """Join the messages of the balancers that failed.

    Args:
        results: the results of a loop over the balancers.
    """
    return " ".join(f"{one['item']}: {one['msg']}." for one in results if one.get("failed"))


def abandoned(drained: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the servers that were drained by a run which has ended without letting them serve again.

    What was drained on purpose, by playbooks/drain.yml, is not among them.

    Args:
        drained: the run that drained each server.
    """
    return sorted(name for name, run in drained.items() if run.get("what") != "drain" and not controller.lives(run))


def balancer_ports_taken(listening: str, ports: Mapping[str, int]) -> list[str]:
    """Return why ports cannot be used, with the remedy.

    Args:
        listening: the output of ``ss``: the listening sockets with their processes.
        ports: the port of each variable.
    """
    found = []
    for variable, port in ports.items():
        for line in listening.splitlines():
            # state, two queues, address, peer, processes
            fields = line.split(maxsplit=5)
            if len(fields) > 3 and fields[3].endswith(f":{port}") and '"haproxy"' not in line:
                who = ", ".join(f"{name} (process {pid})" for name, pid in re.findall(r'\("([^"]*)",pid=(\d+)', line))
                found.append(
                    f"{variable}={port} is taken by {who or 'another program'}: stop it there, or choose another port."
                )
                break
    return found


def balancer_network(vip: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the interface and the own address of the network that a shared address belongs to, or the problem.

    Args:
        vip: the shared address.
        facts: the network facts of the balancer.
    """
    return asdict(pair.network(vip, facts))


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "abandoned": abandoned,
            "balancer_failures": balancer_failures,
            "balancer_network": balancer_network,
            "balancer_ports_taken": balancer_ports_taken,
            "balancer_table": balancer_show.status,
        }
