"""Documentation that the modules of a load balancer share, as their code does in module_utils/balancer/arguments.py."""


class ModuleDocFragment:
    """Named as Ansible expects."""

    DOCUMENTATION = r"""
options:
  folder:
    description: Where the balancer keeps its states and records.
    type: path
    required: true
  socket:
    description: HAProxy's runtime socket.
    type: path
    default: /run/haproxy/admin.sock
  master:
    description: The socket of HAProxy's master process.
    type: path
    default: /run/haproxy-master.sock
"""
