"""Documentation that several modules share, as their code does in module_utils/host/arguments.py."""


class ModuleDocFragment:
    """Named as Ansible expects."""

    DOCUMENTATION = r"""
options:
  app_name:
    description: The application's name.
    type: str
    required: true
  base_dir:
    description: The directory that holds one directory per application.
    type: path
    default: /opt
"""

    RESERVED = r"""
options:
  run:
    description: The run, as the lookup P(flaskops.uwsgi.run_identity#lookup) returns it.
    type: dict
  replace:
    description: >-
      The owner of a reservation to ignore, because its run has ended. With C(renewed), only
      if it has not been renewed since then.
    type: dict
  reserved:
    description: Whether the run must still hold its reservation, so that its plan is still valid.
    type: bool
    default: false
"""
