"""What the documentation of modules that send load has in common, as code in module_utils/load/result.py."""


class ModuleDocFragment:
    """Named as Ansible expects."""

    DOCUMENTATION = r"""
options:
  url:
    description: Where the requests go, with a path.
    type: str
    required: true
  data_file:
    description: File with the body; the requests are then POSTs. Without it they are GETs.
    type: path
  body:
    description: The body itself, in place of O(data_file), for a host that does not have the file.
    type: str
  content_type:
    description: Content type of the body.
    type: str
    default: application/json
  capacity:
    description:
      - Requests that the target can hold at once, being served or waiting to be accepted. A run with more
        in flight is skipped with a warning. V(0) when it is not known.
    type: int
    default: 0
  start_at:
    description:
      - Moment, in seconds since the epoch, at which the run begins after its warm-up, so that several hosts begin
        together. V(0) for at once; a moment more than a minute away is not waited for.
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
