#!/usr/bin/python
"""Module: set which servers of a load balancer get requests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_servers
short_description: Drain servers of a load balancer, let them serve again, or move them
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.balancer
description:
  - Sets states, weights and addresses of servers at HAProxy's runtime socket, in all backends that have them.
  - A server that is drained or in maintenance gets no new requests; the module waits until it has none left, also in
    processes that a reload has left behind. A server that gets requests again has to pass HAProxy's health checks
    first; the module waits for that.
  - If a server is not idle or not up in time, all servers named get the state back that they had.
  - The states outlast a reload and a restart of HAProxy.
options:
  servers:
    description: Names of the servers, which are those of the application hosts in the inventory.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(drain) for no new requests, with health checks; V(maint) for no requests and no health checks; V(ready) to
        serve.
      - Without it, only weights and addresses are set.
    type: str
    choices: [ready, drain, maint]
  weight:
    description: Share of the requests, of 0 to 256, compared with the other servers.
    type: int
  wait:
    description: Seconds that the servers may take to be idle, or to be up. 0 not to wait.
    type: int
    default: 60
  min_ready:
    description: How many servers of each backend must go on serving. Otherwise nothing is changed.
    type: int
    default: 1
  cut:
    description: Whether requests that have not ended in that time are cut.
    type: bool
    default: false
  ignore_unknown:
    description: Whether servers to which no site sends requests are left out. Otherwise the module fails for them.
    type: bool
    default: false
  spare_only:
    description: Whether servers without another one beside them are left as they are.
    type: bool
    default: false
  places:
    description:
      - Where servers are from now on, by name. Each has C(address), C(port), and C(capacity) in requests at the same
        time.
      - The configuration on the host gets the same, so that a reload changes nothing.
    type: dict
  configuration:
    description: HAProxy's configuration.
    type: path
    default: /etc/haproxy/haproxy.cfg
  run:
    description: The run that drains them, from the lookup P(flaskops.uwsgi.run_identity#lookup). It is recorded.
    type: dict
"""

EXAMPLES = r"""
- name: Drain a host
  flaskops.uwsgi.balancer_servers:
    servers: [web1.example.org]
    state: drain
    folder: /var/lib/haproxy-flaskops
    run: "{{ lookup('flaskops.uwsgi.run_identity', 'drain') }}"
  delegate_to: lb1.example.org
"""

RETURN = r"""
before:
  description: The state of each server that was, or in check mode would be, changed.
  type: dict
  returned: always
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import addresses, arguments, servers
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.records import Records
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime, RuntimeAPIError, Server
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import files
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.files import DamagedError

MOST_WEIGHT = 256


@dataclass(frozen=True)
class Balancer:
    """A balancer and its files."""

    runtime: Runtime
    states: Path
    records: Records
    configuration: Path

    def grant(self, wish: servers.Wish, doomed: list[Server], run: dict[str, Any]) -> None:
        """Change the servers, and wait until that has its effect."""
        names = list(wish.names)
        away = wish.state in ("drain", "maint")
        known = self.records.read()
        added = [one.name for one in doomed if away] + [name for name in names if away and name not in known]
        # Before the change: a run that is killed between the two leaves nothing drained that nobody knows of.
        self.records.add(added, run)
        if wish.places:
            files.put(self.configuration, addresses.moved(self.configuration.read_text(), wish.places))
        try:
            with servers.restored(self.runtime, doomed):
                servers.change(self.runtime, doomed, wish)
                servers.keep(self.runtime, self.states, self.configuration)
                if away:
                    servers.wait_until_idle(self.runtime, names, wish)
                elif wish.state:
                    servers.wait_until_up(self.runtime, names, wish)
        except BaseException:
            self.records.replace(known)
            raise
        if wish.state == "ready":
            self.records.remove(names)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.BALANCER
        | {
            "servers": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["ready", "drain", "maint"]},
            "weight": {"type": "int"},
            "wait": {"type": "int", "default": 60},
            "min_ready": {"type": "int", "default": 1},
            "cut": {"type": "bool", "default": False},
            "ignore_unknown": {"type": "bool", "default": False},
            "spare_only": {"type": "bool", "default": False},
            "places": {"type": "dict"},
            "configuration": {"type": "path", "default": "/etc/haproxy/haproxy.cfg"},
            "run": {"type": "dict"},
        },
        required_one_of=[("state", "weight", "places")],
        supports_check_mode=True,
    )
    asked = module.params
    weight = asked["weight"]
    if weight is not None and not 0 <= weight <= MOST_WEIGHT:
        module.fail_json(msg=f"weight={weight} is not valid: set it to a number from 0 to {MOST_WEIGHT}")
    wish = servers.Wish(
        asked["servers"],
        asked["state"] or "",
        weight,
        asked["wait"],
        asked["min_ready"],
        cut=asked["cut"],
        places={name: addresses.Place(**place) for name, place in (asked["places"] or {}).items()},
    )
    folder = Path(asked["folder"])
    runtime = arguments.haproxy(module)
    records = Records(folder / "drained.json")
    balancer = Balancer(runtime, folder / "servers", records, Path(asked["configuration"]))
    try:
        seen = runtime.servers()
        if asked["ignore_unknown"]:
            wish = replace(wish, names=[name for name in wish.names if any(one.name == name for one in seen)])
        if asked["spare_only"]:
            wish = replace(wish, names=servers.with_others(seen, wish.names))
        found = servers.chosen(seen, wish)
        doomed = servers.different(found, wish)
        if not module.check_mode:
            balancer.grant(wish, doomed, asked["run"] or {})
    except (servers.ServersError, RuntimeAPIError, DamagedError, OSError) as error:
        module.fail_json(msg=str(error))
    diff = {
        "before": "".join(f"{one.id} {one.address} {one.admin} {one.weight}\n" for one in doomed),
        "after": "".join(
            f"{one.id} {wish.places[one.name].listen if one.name in wish.places else one.address} "
            f"{wish.state or one.admin} {one.weight if weight is None else weight}\n"
            for one in doomed
        ),
    }
    module.exit_json(changed=bool(doomed), before={one.name: one.admin for one in doomed}, diff=diff)


if __name__ == "__main__":
    main()
