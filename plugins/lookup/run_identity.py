"""Lookup: this run of Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_identity
short_description: Name this run of Ansible
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description: Returns who runs Ansible, where and since when, to reserve an application in its name.
options:
  _terms:
    description: What the run is for, such as V(deploy).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Application is reserved
  flaskops.uwsgi.reservation:
    app_name: aiops_flask
    run: "{{ lookup('flaskops.uwsgi.run_identity', 'deploy') }}"
"""

RETURN = r"""
_raw:
  description: who, home (the controller), pid and start (of ansible-playbook), since, what.
  type: list
  elements: dict
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller


class LookupModule(LookupBase):  # type: ignore[misc]
    """Named as Ansible expects."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return one run for each term."""
        return [controller.run(term) for term in terms]
