#!/usr/bin/python
"""Module: have a load balancer renew its certificates, if one is due."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_renewal
short_description: Have a load balancer renew the certificates that are due
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.balancer
description:
  - Starts the same service as the timer. It asks the certificate authority, puts the certificate into HAProxy without a
    reload, and proves by a TLS handshake that visitors get it.
  - Does nothing if no certificate is due.
options:
  settings:
    description: The settings of renewals. Without this file, nothing is renewed.
    type: path
    default: /etc/haproxy/flaskops/acme.json
  service:
    description: The systemd unit that renews.
    type: str
    default: haproxy-flaskops-renew.service
"""

EXAMPLES = r"""
- name: Renew the certificates that are due
  flaskops.uwsgi.balancer_renewal:
    folder: /var/lib/haproxy-flaskops
"""

RETURN = r"""
due:
  description: The host names of each certificate that was, or in check mode would be, renewed.
  type: list
  elements: list
  returned: always
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.certificates import CertificateError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.renewal import Renewal, problems
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.files import DamagedError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.untrusted import UntrustedError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.BALANCER
        | {
            "settings": {"type": "path", "default": "/etc/haproxy/flaskops/acme.json"},
            "service": {"type": "str", "default": "haproxy-flaskops-renew.service"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        runtime = arguments.haproxy(module)
        renewal = Renewal.configured(runtime, Path(asked["settings"]), Path(asked["folder"]))
        due = [site.names for site in renewal.due()]
        if due and not module.check_mode:
            status, _, error = module.run_command(["systemctl", "start", asked["service"]])
            if status:
                failures = problems(renewal.records.read()) or [
                    f"the renewal has failed without a record ({error.strip()}): see `journalctl -u {asked['service']}`"
                ]
                module.fail_json(
                    msg="\n".join([*failures, "The rest of the configuration is in place, and the sites are served."]),
                    due=due,
                )
    except (CertificateError, DamagedError, UntrustedError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(due),
        due=due,
        diff={"before": "", "after": "".join(f"a new certificate for {', '.join(names)}\n" for names in due)},
    )


if __name__ == "__main__":
    main()
