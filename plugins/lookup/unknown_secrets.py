"""Lookup: the secrets that cannot be known."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_secrets
short_description: Tell which secrets cannot be known
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Returns what is wrong with those entries of V(flask_uwsgi_secrets) that are not defined, not decrypted or not found.
  - What Ansible itself would say of them quotes the lines around, which may hold other secrets.
options: {}
"""

EXAMPLES = r"""
- name: Secrets are known
  ansible.builtin.assert:
    that: query('flaskops.uwsgi.unknown_secrets') | length == 0
"""

RETURN = r"""
_raw:
  description: One problem for each entry.
  type: list
  elements: str
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.secrets import texts, unknown


class LookupModule(LookupBase):  # type: ignore[misc]
    """Named as Ansible expects."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        """Return a problem for each entry that has one."""
        return list(self._problems(variables["flask_uwsgi_secrets"]))

    def _problems(self, given: Any) -> Iterator[str]:
        # A dictionary one by one, so that each is told; what makes one, as a whole.
        for name, value in given.items() if isinstance(given, Mapping) else [("", given)]:
            try:
                known = self._templar.template(value)
                # Ansible templates what is in it when it is looked at.
                texts(known if isinstance(known, Mapping) else {name: known})
            except AnsibleError as error:
                yield unknown(name, str(error))
