#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_plan
short_description: Plan what a load balancer serves
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Checks the sites and their certificates, and finds the hosts of their applications in the inventory. All problems
    are reported together.
  - An action plugin, which runs on the controller.
options:
  sites:
    description: The value of C(load_balancer_sites).
    type: list
    elements: dict
    required: true
  endpoints:
    description: For each application host, what M(flaskops.uwsgi.endpoint) returned for it.
    type: dict
    required: true
  acme:
    description:
      - The values of C(load_balancer_acme_agree), C(_server), C(_email), C(_ca) and C(_port), by the rest of their
        names.
    type: dict
    required: true
  ports:
    description: The ports of plain HTTP and of HTTPS.
    type: list
    elements: int
    required: true
"""

EXAMPLES = r"""
- name: Plan the sites
  flaskops.uwsgi.balancer_plan:
    sites: "{{ load_balancer_sites }}"
    endpoints: "{{ endpoints }}"
    acme: {agree: true, server: "", email: "", ca: "", port: 8402}
    ports: [80, 443]
  register: plan
"""

RETURN = r"""
sites:
  description: The sites, those with the longest path first.
  type: list
  elements: dict
  returned: success
backends:
  description: The applications, each with the endpoints of its hosts.
  type: list
  elements: dict
  returned: success
text:
  description: A line for each site, for people.
  type: list
  elements: str
  returned: success
pairs:
  description: The certificates and keys from the controller, by the name of the file that the balancer gets.
  type: dict
  returned: success
"""
