"""Documentation that the modules that send load share, as their code does in module_utils/load/result.py."""


class ModuleDocFragment:
    """Named as Ansible expects."""

    DOCUMENTATION = r"""
options:
  url:
    description: The URL to request, with a path.
    type: str
    required: true
  data_file:
    description: File with the body; the requests are then POSTs. Without it they are GETs.
    type: path
  body:
    description: The body itself, instead of O(data_file), for a host without the file.
    type: str
  content_type:
    description: Content type of the body.
    type: str
    default: application/json
  capacity:
    description:
      - Requests that the target can hold at once, in progress or waiting to be accepted. A run with more in flight is
        skipped with a warning. V(0) if unknown.
    type: int
    default: 0
  start_at:
    description:
      - The time, in seconds since the epoch, at which the run begins after its warm-up, so that several hosts begin
        together. V(0) for immediately; a time more than a minute away is ignored.
    type: float
    default: 0
  histogram:
    description: >-
      Whether C(histogram_ms) and C(raw) are returned, from which runs of several hosts are merged.
    type: bool
    default: false
  raw_prefix:
    description: Path without extension of the files that keep the raw output. Without it none are kept.
    type: path
"""
