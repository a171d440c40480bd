"""Action: what a load balancer will serve. The module of this name documents it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer import authority
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.endpoint import Endpoint
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.sites import planned
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain


class ActionModule(ActionBase):  # type: ignore[misc]
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"acme", "endpoints", "ports", "sites"})
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan, or fail with every problem."""
        super().run(tmp, task_vars)
        asked = plain(self._task.args)
        groups = {name: list(hosts) for name, hosts in (task_vars or {})["groups"].items()}
        endpoints = {host: Endpoint(**found) for host, found in asked["endpoints"].items() if found}
        plan = planned(asked["sites"], groups, endpoints)
        ports = [int(port) for port in asked["ports"]]
        if problems := [*plan.problems, *authority.problems(asked["sites"], {**asked["acme"], "taken": ports})]:
            return {"failed": True, "msg": "\n".join([*problems, "Nothing was changed."])}
        # Keys leave the controller by a task of their own, which shows nothing.
        pairs = {site.certificate: site.pair.pem for site in plan.sites if site.pair}
        sites = [{**asdict(site), "pair": None, "addresses": site.addresses} for site in plan.sites]
        backends = [{**asdict(one), "first": asdict(one.first)} for one in plan.backends]
        return {
            "changed": False,
            "sites": sites,
            "backends": backends,
            "text": [site.text(*ports) for site in plan.sites],
            "pairs": pairs,
            "_ansible_no_log": bool(pairs),
        }
