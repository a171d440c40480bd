"""What the documentation of several modules has in common, as code in module_utils/host/arguments.py."""


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
    description: Who asks, as the lookup P(flaskops.uwsgi.run_identity#lookup) returns it.
    type: dict
  replace:
    description: >-
      Whose reservation of the application does not count, because the run that held it has ended. With C(renewed), only
      if it has not been renewed since then.
    type: dict
  reserved:
    description: Whether the run must still hold its reservation, so that what it planned is still true.
    type: bool
    default: false
"""
