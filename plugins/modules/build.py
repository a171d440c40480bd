#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build
short_description: Build what is missing of an artifact, and keep it on the controller
version_added: 0.3.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Names the artifact of an application and packs its code, which needs no build host.
  - If there is no lock of the requirements and only a build can determine them, makes one on the host
    (M(flaskops.uwsgi.resolution)). If the cache has no wheels for the lock, collects them there
    (M(flaskops.uwsgi.wheelhouse)), fetches them, and compares them with the lock before it keeps them.
  - Does nothing in check mode.
  - An action plugin for the role C(artifact). It runs on a build host of the platform.
options:
  request:
    description:
      - The RV(flaskops.uwsgi.plan#module:asked) of a plan. By default, the variables of the role C(artifact) say what
        to build.
    type: str
    default: ''
  wheels:
    description: Whether the wheels are built, or only the lock is made if there is none.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Build what is missing of the artifact
  flaskops.uwsgi.build:
    request: "{{ plan.asked }}"
  delegate_to: build1
  become: true
"""

RETURN = r"""
artifact:
  description: The artifact, as the module M(flaskops.uwsgi.release) needs it.
  type: dict
  returned: success, not in check mode
  contains:
    id:
      description: The first 12 digits of the digest, for people.
      type: str
    digest:
      description: The SHA-256 of code and wheels, which decides.
      type: str
    platform:
      description: Distribution, architecture and Python of the hosts.
      type: str
    python:
      description: The interpreter on the hosts that it is for; empty for the system's.
      type: str
    source:
      description: Its C(kind), and what is the same on every controller, such as the C(commit).
      type: dict
    locked:
      description: >-
        C(from) which file a lock was made, of how many C(packages), and its C(path). Empty if the application has one.
      type: dict
    ignored:
      description: The options in files of the application that do not count.
      type: list
      elements: str
    notes:
      description: Sentences for the operator.
      type: list
      elements: str
    project:
      description: The name of the project that the source is, if it is installed; else empty.
      type: str
    python_path:
      description: >-
        The folders of the source, relative to it, that are put on Python's path because nothing is installed of them.
      type: list
      elements: str
    left_out:
      description: >-
        The Python packages and modules of the source that are not deployed, each with the pattern of
        C(artifact_exclude) that it matches.
      type: dict
    code:
      description: >-
        C(id) and C(path) of the archive of the code, and its C(file), C(sha256) and C(unpacked), the number of bytes
        that it unpacks to.
      type: dict
    wheelhouse:
      description: >-
        The same of the archive of the wheels; C(built), whether the cache has it; and C(requirements),
        C(distribution), C(project) and C(patches), which it is built of.
      type: dict
text:
  description: What was built, one line each. Empty if nothing was missing.
  type: list
  elements: str
  returned: success, not in check mode
"""
