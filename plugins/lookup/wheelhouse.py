"""Lookup: check a wheelhouse against its locks, and keep it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: wheelhouse
short_description: Compare a wheelhouse with the locks that it was built from, and keep it
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Reads the wheels on the controller without running them.
  - Each wheel must belong to an entry of a lock by name and version, each entry must have one wheel, and a wheel that
    was downloaded must have one of the entry's hashes.
  - A wheelhouse that matches its locks is moved into the cache, unless another run has put the same one there.
  - Refuses wheels that install a file of another distribution, of the virtual environment or of the server, a path
    that leads out, or a file that their own C(RECORD) does not list.
options:
  _terms:
    description: Nothing; everything is an option.
  plan:
    description: The artifact, as the lookup P(flaskops.uwsgi.artifact#lookup) returns it.
    type: dict
    required: true
  archive:
    description: The wheelhouse, in the folder of the cache.
    type: path
    required: true
  build_lock:
    description: The requirements of the build itself, whose pip installs on the hosts.
    type: path
    required: true
  built:
    description: >-
      The wheels that were built from an sdist, each with the SHA-256 of that sdist. Without it, a wheel without a
      locked hash counts as built.
    type: dict
"""

EXAMPLES = r"""
- ansible.builtin.set_fact:
    kept: "{{ lookup('flaskops.uwsgi.wheelhouse', plan=artifact_plan, archive=fetched, build_lock=build_lock) }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary with C(record), which was written beside the archive.
    - Only C(problem), with its remedy, if the wheelhouse is refused.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.wheelhouse import examine


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the record, or the problem, as a list of one dictionary."""
        self.set_options(var_options=variables, direct=kwargs)
        plan, fetched = self.get_option("plan"), Path(self.get_option("archive"))
        wheelhouse, archive = plan["wheelhouse"], Path(plan["wheelhouse"]["path"])
        try:
            found = examine(
                fetched,
                [entry for text in wheelhouse["requirements"].values() for entry in art.requirements(text)],
                art.read_lock(Path(self.get_option("build_lock")), "artifact_build_lock"),
                plan["platform"],
                Path(wheelhouse["distribution"]) if wheelhouse["distribution"] else None,
                self.get_option("built"),
                wheelhouse["project"],
            )
        except art.ArtifactError as error:
            # It always has the same name: a refused wheelhouse is not an artifact, and only the last one is of
            # interest.
            fetched = fetched.replace(archive.with_name(f"{archive.name}.refused"))
            problem = (
                f"the wheelhouse {wheelhouse['id']} does not match its locks, or contains a wheel that is not safe to "
                f"install:\n{error}\nRemove such a package from the lock or pin another version of it, and deploy "
                f"again. The wheels are in {fetched} for inspection; nothing was shipped, and no application host "
                "was changed."
            )
            return [{"problem": problem}]
        return [{"record": art.keep(fetched, archive, wheelhouse["digest"], **found)}]
