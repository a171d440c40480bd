"""The arguments that the modules of a load balancer share; doc_fragments/balancer.py documents them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .runtime import Runtime

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

BALANCER: dict[str, Any] = {
    "folder": {"type": "path", "required": True},
    "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
    "master": {"type": "path", "default": "/run/haproxy-master.sock"},
}


def haproxy(module: AnsibleModule) -> Runtime:
    """Return the runtime API of the HAProxy that a module was called for."""
    return Runtime(Path(module.params["socket"]), Path(module.params["master"]))
