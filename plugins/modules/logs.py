#!/usr/bin/python
"""Module: read an application's log on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: logs
short_description: Read an application's last log lines, and find the errors in them
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - >-
    Reads the journal: the lines of the application, of uWSGI, and of systemd about their units, of this boot and of
    earlier ones, as far back as the journal reaches.
  - Changes nothing.
options:
  lines:
    description: Number of lines to read, at least 1.
    type: int
    default: 200
  since:
    description: A time that journalctl accepts, such as C(-1h), before which lines are left out. Empty for none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Read the last hour's log lines
  flaskops.uwsgi.logs:
    app_name: aiops_flask
    lines: 500
    since: -1h
  register: result
"""

RETURN = r"""
deployed:
  description: Whether a generation is current on the host.
  type: bool
  returned: success
lines:
  description: >-
    The last lines, oldest first: C(at) (UTC), C(by) (systemd or the process id), C(text).
  type: list
  elements: dict
  returned: success
errors:
  description: >-
    The errors among these lines: C(at), C(by), and C(lines), which contains a complete traceback. Errors are
    tracebacks, failures reported by uWSGI and systemd, requests answered with 5xx, and what the application logs as
    error or critical.
  type: list
  elements: dict
  returned: success
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments, logs
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | {
            "lines": {"type": "int", "default": 200},
            "since": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    layout = arguments.layout(module)
    lines, since = module.params["lines"], module.params["since"]
    try:
        entries = logs.read(layout, lines, since)
    except SystemdError as error:
        if "parse timestamp" in str(error):
            module.fail_json(
                msg=f"flask_uwsgi_log_since={since} is not valid ({error}): set it to a time that journalctl accepts, "
                "such as -1h or '2026-11-24 09:00', or leave it empty. On the command line, a value with spaces needs "
                "its own quotes: -e \"flask_uwsgi_log_since='1 hour ago'\""
            )
        module.fail_json(msg=f"the journal of {layout.app} cannot be read: {error}")
    module.exit_json(
        changed=False,
        deployed=layout.current_generation() is not None,
        lines=[{"at": entry.at, "by": entry.by, "text": entry.text} for entry in entries[-lines:]],
        errors=[
            {
                "at": error[0].at,
                "by": error[0].by,
                "lines": [line for entry in error for line in logs.unfold(entry.text)],
            }
            for error in logs.errors(entries, lines)
        ],
    )


if __name__ == "__main__":
    main()
