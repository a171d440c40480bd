"""Lookup: what artifact an application becomes on a platform, and whether it is built already."""

from __future__ import annotations

DOCUMENTATION = r"""
name: artifact
short_description: Name the artifact of an application, and pack its code
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Computes on the controller the id of the artifact an application becomes on a platform.
  - Packs the code into the cache when it is not there. The wheels are built by the role C(artifact).
  - Runs no code of the application or of what it requires.
options:
  _terms:
    description: Nothing; everything is an option.
  source:
    description:
      - The application, a folder, a wheel or an sdist on the controller, a pinned package (C(NAME==VERSION)), or a git
        repository (C(git+URL@REF)).
    type: str
    required: true
  requirements:
    description:
      - What the application requires, a file relative to the source. Where it is no lock, one is made and kept in the
        cache. Empty for what the source has.
    type: str
    default: ''
  install:
    description: Whether a folder that names a build backend is built and installed, as by C(pip install .).
    type: bool
    default: true
  wsgi_file:
    description: The file that the source must have; empty for none.
    type: str
    default: ''
  server_lock:
    description: The requirements of the application server (uWSGI, gevent), with hashes.
    type: path
    required: true
  build_lock:
    description: What builds wheels (pip, build backends), with hashes.
    type: path
    required: true
  patches:
    description: The folder that has a folder of patches for each NAME-VERSION that is built with some.
    type: path
    required: true
  limits:
    description: The variables that bound a build, to be checked.
    type: dict
    default: {}
  build_packages:
    description: Debian packages that the application's wheels are compiled with. Others give other wheels.
    type: list
    elements: str
    default: []
  platform:
    description: Distribution, architecture and Python of the hosts, such as C(debian-12-x86_64-py3.11).
    type: str
    required: true
  exclude:
    description: Shell patterns of files and folders to leave out.
    type: list
    elements: str
    default: []
  cache:
    description: The folder on the controller that keeps archives.
    type: path
    required: true
"""

EXAMPLES = r"""
- ansible.builtin.set_fact:
    artifact: "{{ lookup('flaskops.uwsgi.artifact', source='app', ...) }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary with C(id), C(digest), C(platform), C(source), C(locked), C(code) and C(wheelhouse).
    - An C(id) is the first 12 digits of a SHA-256, for people. What decides is the whole, the C(digest).
    - C(source) has the C(kind) and what is the same on every controller, such as the C(commit).
    - C(locked) tells C(from) which file a lock was made, of how many C(packages), and its C(path); empty where the
      application brings one. C(ignored) names the options in files of the application that did not count, C(notes) are
      sentences for the operator.
    - C(project) is the name of the project that the source is, where it is installed; empty otherwise. C(python_path)
      has the folders of the source, relative to it, that are put on Python's path since nothing is installed of them.
    - C(left_out) has the Python packages and modules of the source that are not deployed, each with the pattern of
      O(exclude) that says so.
    - C(code) and C(wheelhouse) each have C(id), C(path) and, when they are in the cache, C(file), C(sha256) and
      C(unpacked), the number of bytes that the archive unpacks to.
    - Only C(problem), a sentence with its remedy, where the input cannot become an artifact.
    - Only C(resolution) and C(ignored) where the requirements have to be locked on a build host first; it is what the
      module P(flaskops.uwsgi.resolution#module) needs, and the C(path) where the lock is kept.
    - C(wheelhouse.requirements) holds the two requirement texts to build from, C(wheelhouse.distribution) the file to
      build besides, empty for none, C(wheelhouse.project) its name where it is the archive of a folder,
      C(wheelhouse.patches) what its sdists are patched with.
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Request
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import Unresolved
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import looked_up, to_resolve


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the plan as a list of one dictionary."""
        self.set_options(var_options=variables, direct=kwargs)
        request = Request(**plain({name: value for name, value in self.get_options().items() if name != "_terms"}))
        try:
            return [asdict(looked_up(request))]
        except ArtifactError as error:
            # For the role to tell: what a lookup raises reaches people wrapped in Ansible's own words.
            return [{"problem": str(error)}]
        except Unresolved as unresolved:
            return [to_resolve(request, unresolved.resolution)]
