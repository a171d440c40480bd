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
    description: Whose reservation of the application does not count, because he lives no more.
    type: dict
"""
