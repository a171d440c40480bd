"""Documentation that the modules for build hosts share."""

from __future__ import annotations


class ModuleDocFragment:
    """Named as Ansible expects."""

    DOCUMENTATION = r"""
options:
  build_lock:
    description: The build tools, a requirements file with exact versions and hashes.
    type: str
    required: true
  python:
    description: >-
      The absolute path of the interpreter to build for, which M(flaskops.uwsgi.host_state) finds usable. Empty for the
      one that runs this.
    type: str
    default: ''
  timeout:
    description: Seconds that one step may take, such as the build of one package.
    type: int
    required: true
  memory_mb:
    description: Mebibytes of memory that one step may use.
    type: int
    required: true
  disk_mb:
    description: Mebibytes of files that one step may write. They are kept in memory.
    type: int
    required: true
  tasks:
    description: Processes and threads that one step may have.
    type: int
    required: true
"""
