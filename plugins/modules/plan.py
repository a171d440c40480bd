#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan a deploy on a host, without changing anything
version_added: 0.3.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Reads the variables of the role C(flask_uwsgi) and checks them, asks the host in one round trip,
    names the artifact and the generation, and returns what a deploy will do.
  - A problem, such as a host that cannot be reached, is part of the plan and not a failure. Give the plans of all hosts
    to M(flaskops.uwsgi.fleet_plan), which refuses them together.
  - An action plugin. It works in the role only.
options:
  what:
    description: What the run says that it does if another one finds the application reserved.
    type: str
    default: deploy
  decision:
    description: What V(flask_uwsgi_mode=auto) was decided to be. By default what the host has recorded.
    type: dict
  verdict:
    description: The result of M(flaskops.uwsgi.gevent_check), which decides V(flask_uwsgi_mode=auto).
    type: dict
  limits:
    description: The RV(limits) in the plan of the host that was checked. Required with O(verdict).
    type: dict
"""

EXAMPLES = r"""
- name: Plan
  flaskops.uwsgi.plan:
  become: true
  register: plan
"""

RETURN = r"""
host:
  description: The name of the host in the inventory.
  type: str
  returned: always
problems:
  description: Why the host cannot be deployed to, each with its remedy. If there are any, the rest is empty.
  type: list
  elements: str
  returned: always
work:
  description: >-
    What there is to do. V(nothing); V(release) if only the reservation of a run that has ended is left; V(deploy); or
    V(resolve) if a build host has to lock the requirements first.
  type: str
  returned: always
text:
  description: The plan in words, one line each.
  type: list
  elements: str
  returned: always
app_name:
  description: The application.
  type: str
  returned: always
root:
  description: The directory of the application on the host.
  type: str
  returned: always
machine:
  description: What tells this machine from others, whatever their names are in the inventory.
  type: str
  returned: always
wants:
  description: Address, port and account, which no other application of the machine may have.
  type: list
  elements: str
  returned: always
generation:
  description: The id of the generation that will serve.
  type: str
  returned: always
digest:
  description: The whole name of that generation, which decides.
  type: str
  returned: always
mode:
  description: The mode of that generation.
  type: str
  returned: always
cores:
  description: The requests in flight in each of its workers.
  type: int
  returned: always
processes:
  description: Its workers.
  type: int
  returned: always
decision:
  description: What V(flask_uwsgi_mode=auto) is for that generation; empty without auto.
  type: dict
  returned: always
undecided:
  description: Whether the gevent check has still to decide that.
  type: bool
  returned: always
decided:
  description: What auto was decided to be on this host, by the digest of the artifact.
  type: dict
  returned: always
check:
  description: Whether the gevent check has to be made.
  type: bool
  returned: always
commands:
  description: >-
    Whether the commands of V(flask_uwsgi_pre_activate) have to run, unless M(flaskops.uwsgi.command_record) says that
    they have.
  type: bool
  returned: always
keeper:
  description: The value of V(flask_uwsgi_keeper).
  type: str
  returned: always
probe:
  description: What the gevent check requests and accepts, C(path) and C(status).
  type: dict
  returned: always
moves:
  description: Whether it will be served on another address.
  type: bool
  returned: always
artifact:
  description: The digest of the artifact.
  type: str
  returned: always
platform:
  description: Distribution, architecture and Python of the host.
  type: str
  returned: always
python:
  description: The interpreter of the application; empty for the system's.
  type: str
  returned: always
code:
  description: Whether the release has to be shipped.
  type: bool
  returned: always
wheels:
  description: Whether the wheels have to be shipped.
  type: bool
  returned: always
serving:
  description: The generation that serves now, with its mode; empty if none does.
  type: str
  returned: always
drift:
  description: How the host differs from what was deployed.
  type: list
  elements: str
  returned: always
repairs:
  description: Whether the generation that serves stays, and only drift is repaired.
  type: bool
  returned: always
run:
  description: This run of Ansible, as the owner of reservations.
  type: dict
  returned: always
replace:
  description: The owner of a reservation that does not count; empty for none.
  type: dict
  returned: always
claims:
  description: Whether account, group or directories of the application are missing.
  type: bool
  returned: always
packages:
  description: Packages of the host to install for the application.
  type: list
  elements: str
  returned: always
libpython:
  description: The package of Python's shared library if it is missing.
  type: str
  returned: always
somaxconn:
  description: Whether net.core.somaxconn is below the backlog.
  type: bool
  returned: always
limits:
  description: The facts of the host that limit the number of threads.
  type: dict
  returned: always
wheelhouse:
  description: The digest of its wheels.
  type: str
  returned: always
builds:
  description: >-
    What a build host has to make first, a lock or a wheelhouse; the same for all hosts that need it. Empty for nothing.
  type: str
  returned: always
asked:
  description: >-
    What was asked of the artifact, encrypted with a key that ends with the run, for M(flaskops.uwsgi.build) and
    M(flaskops.uwsgi.ship). Empty if there is nothing to do.
  type: str
  returned: always
sealed:
  description: >-
    The settings of the generation, encrypted with a key that ends with the run, for
    M(flaskops.uwsgi.write_generation). Empty if there is nothing to write.
  type: str
  returned: always
"""
