#!/usr/bin/python
"""Module: record for which generations the commands of a deploy have run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: command_record
short_description: Record that the commands of a deploy have run, so that they run once
version_added: 0.3.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - One host of an application, the keeper, has the record for all of its hosts. Delegate the task to it. The
    application need not be deployed there.
  - The record names the generations of the last deploy that ran its commands. After the commands of another generation
    have run, those of an older one run again.
  - A claim that is neither finished nor given back counts until the run that made it has ended, or, if it came from
    another controller, until its lease has ended. Then the next deploy runs the commands again.
options:
  app_name:
    description: The application's name.
    type: str
    required: true
  state:
    description:
      - V(read) shows the record.
      - V(claimed) claims the commands unless they have run for the first of O(generations), or in the same run of
        Ansible. It fails if another run is running them.
      - V(done) records that they have run.
      - V(absent) gives a claim of this run back. Anything else is left alone.
    type: str
    choices: [read, claimed, done, absent]
    default: read
  generations:
    description: >-
      The digests of the generations that the commands are for. The first is that of O(host). Required unless O(state)
      is V(absent).
    type: list
    elements: str
    default: []
  host:
    description: The name of the host that runs the commands. Required unless O(state) is V(absent).
    type: str
    default: ""
  run:
    description: Who asks, as the lookup P(flaskops.uwsgi.run_identity#lookup) returns it.
    type: dict
    required: true
  lease:
    description: Seconds after which a run of another controller may replace the claim.
    type: int
    default: 1800
  replace:
    description: >-
      Whose claim does not count, because the run has ended. With C(renewed), only if it has not been renewed since
      then. In a play it is filled in.
    type: dict
"""

EXAMPLES = r"""
- name: Claim the commands
  flaskops.uwsgi.command_record:
    app_name: shop
    state: claimed
    generations: [3f2a90c1d5e7]
    host: web1
    run: "{{ lookup('flaskops.uwsgi.run_identity', 'deploy') }}"
  delegate_to: web1
  become: true
  register: claim
"""

RETURN = r"""
record:
  description: >-
    The record, or null. C(generations), C(state) (C(running) or C(done)), C(by) (the run), C(on) (the host that ran the
    commands), and C(at) (when they began or, once they are done, ended).
  type: dict
  returned: always
claimed:
  description: Whether the run has to run the commands now.
  type: bool
  returned: always
text:
  description: What a deploy will do about the commands, in words.
  type: str
  returned: when O(state) is V(read)
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import command_record, reservation
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.command_record import Record


def acted(layout: Layout, asked: Mapping[str, Any]) -> Record | None:
    """Do what is asked, and return the record."""
    generations, run = asked["generations"], asked["run"]
    if asked["state"] == "claimed":
        owner = run | {"lease": asked["lease"]}
        return command_record.claim(layout, generations, asked["host"], owner, asked["replace"])
    if asked["state"] == "done":
        return command_record.finish(layout, generations, run)
    if asked["state"] == "absent":
        command_record.give_back(layout, run)
    return command_record.read(layout)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "app_name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["read", "claimed", "done", "absent"], "default": "read"},
            "generations": {"type": "list", "elements": "str", "default": []},
            "host": {"type": "str", "default": ""},
            "run": {"type": "dict", "required": True},
            "lease": {"type": "int", "default": reservation.LEASE_S},
            "replace": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    layout, asked = arguments.layout(module), module.params
    claims = asked["state"] == "claimed"
    if asked["state"] != "absent" and not (asked["generations"] and asked["host"]):
        module.fail_json(msg=f"state={asked['state']} needs generations and host: set both")
    try:
        found = command_record.read(layout) if module.check_mode else acted(layout, asked)
    except command_record.TakenError as error:
        module.fail_json(msg=str(error), record=error.record and asdict(error.record))
    except OSError as error:
        module.fail_json(msg=f"{layout.commands} cannot be written: {error.strerror}")
    done = bool(found and found.covers(asked["generations"][0], asked["run"])) if claims else False
    # A record of the deploy: nothing of the application was changed.
    module.exit_json(changed=False, record=found and asdict(found), claimed=claims and not done)


if __name__ == "__main__":
    main()
