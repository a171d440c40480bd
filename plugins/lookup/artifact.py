"""Lookup: what artifact an application becomes on a platform, and whether it is built already."""

from __future__ import annotations

DOCUMENTATION = r"""
name: artifact
short_description: Name the artifact of an application, and pack its code
version_added: 0.1.0
author: The flaskops maintainers
description:
  - Computes on the controller the id of the artifact an application becomes on a platform.
  - Packs the code into the cache when it is not there. The wheels are built by the role C(artifact).
options:
  _terms:
    description: Nothing; everything is an option.
  source:
    description: The application's folder on the controller.
    type: path
    required: true
  lock:
    description: The application's requirements with hashes.
    type: path
    required: true
  server_lock:
    description: The requirements of the application server (uWSGI, gevent), with hashes.
    type: path
    required: true
  build_lock:
    description: The requirements of the build itself (pip, setuptools, wheel), with hashes.
    type: path
    required: true
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
    artifact: "{{ lookup('flaskops.uwsgi.artifact', source='app', lock='app/requirements.txt', ...) }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary with C(id), C(platform), C(code) and C(wheelhouse).
    - C(code) and C(wheelhouse) each have C(id), C(path) and, when they are in the cache, C(file) and C(sha256).
    - Only C(problem), a sentence with its remedy, where the input cannot become an artifact.
    - C(wheelhouse.requirements) holds the two requirement texts to build from.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskops.uwsgi.plugins.module_utils import artifact as art


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the plan as a list of one dictionary."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [self._plan()]
        except art.ArtifactError as error:
            # For the role to tell: what a lookup raises reaches people wrapped in Ansible's own words.
            return [{"problem": str(error)}]

    def _plan(self) -> dict[str, Any]:
        source = Path(self.get_option("source"))
        cache = Path(self.get_option("cache"))
        platform = self.get_option("platform")
        application = art.read_lock(Path(self.get_option("lock")), "flask_uwsgi_requirements")
        server = art.server_entries(
            application, art.read_lock(Path(self.get_option("server_lock")), "artifact_server_lock")
        )
        build = art.read_lock(Path(self.get_option("build_lock")), "artifact_build_lock")

        files = art.source_files(source, self.get_option("exclude"))
        code = art.code_id(source, files)
        wheelhouse = art.wheelhouse_id([*application, *server, *build], platform)

        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        code_archive = cache / f"code-{code}.tar.gz"
        code_record = art.recorded(code_archive)
        if code_record is None:
            art.pack_code(source, files, code_archive)
            code_record = art.record(code_archive)
        wheels_archive = cache / f"wheelhouse-{wheelhouse}.tar"
        wheels_record = art.recorded(wheels_archive)
        return {
            "id": art.digest(code, wheelhouse),
            "platform": platform,
            "code": {"id": code, "path": str(code_archive), **code_record},
            "wheelhouse": {
                "id": wheelhouse,
                "path": str(wheels_archive),
                "built": wheels_record is not None,
                "requirements": {
                    "application": "\n".join(entry.text for entry in application) + "\n",
                    "server": "\n".join(entry.text for entry in server) + "\n",
                },
                **(wheels_record or {}),
            },
        }
