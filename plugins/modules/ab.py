#!/usr/bin/python
"""Ansible module: run ApacheBench and return its numbers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ab
short_description: Run ApacheBench and return what it measured
version_added: "0.1.0"
extends_documentation_fragment:
  - flaskops.uwsgi.load
description:
  - Runs C(ab) against one URL, after an optional warm-up, and returns its numbers as data.
  - O(timeout_s) limits the time for one response, and O(time_limit_s) that of the whole run.
  - Fails with a reason and a remedy if C(ab) is missing, gives up or prints nothing that can be read.
    Failed requests, slow ones and responses other than 2xx are measurements, and do not fail the module.
  - A run for which this host cannot open enough files, or has too few local ports, is skipped with a
    warning. The soft limit of open files is first raised as far as the hard limit allows.
options:
  requests:
    description:
      - Total number of requests (C(-n)).
    type: int
    default: 1000
  concurrency:
    description:
      - Requests in flight at the same time (C(-c)); at most O(requests).
    type: int
    default: 1000
  timeout_s:
    description:
      - Seconds without any response after which C(ab) gives up (C(-s)).
    type: int
    default: 60
  time_limit_s:
    description:
      - Seconds after which a run that still gets responses is ended.
    type: int
    default: 300
  warmup_requests:
    description:
      - Number of requests in the warm-up, which is not measured. V(0) for none.
    type: int
    default: 0
  warmup_concurrency:
    description:
      - Requests in flight in the warm-up.
    type: int
    default: 50
  keep_requests:
    description:
      - Whether to also keep one line for each request, as C(.tsv) (C(ab -g)).
    type: bool
    default: false
  any_length:
    description:
      - Whether responses may differ in length (C(ab -l)). By default, one that does is a failed request.
    type: bool
    default: false
  keep_going:
    description:
      - Whether a lost connection is counted as a failed request (C(ab -r)). By default C(ab) gives up.
    type: bool
    default: false
  executable:
    description:
      - Name or path of C(ab).
    type: str
    default: ab
attributes:
  check_mode:
    description: Sends no load in check mode, and returns RV(ab.outcome=skipped).
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to compare.
    support: none
author:
  - The flaskops maintainers (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Send load from the controller
  flaskops.uwsgi.ab:
    url: http://app1.example.org:8040/user_manage/user/login
    requests: 1000
    concurrency: 1000
    data_file: "{{ playbook_dir }}/data.txt"
    warmup_requests: 200
  delegate_to: localhost
  become: false
  register: run

- name: Show the median
  ansible.builtin.debug:
    var: run.ab.p50_ms
"""

RETURN = r"""
ab:
  description: The run.
  returned: always
  type: dict
  contains:
    outcome:
      description: V(measured), V(failed) (C(ab) gave up) or V(skipped).
      type: str
    reason:
      description: Why it failed or was skipped; empty if it was measured.
      type: str
    error:
      description: For programs, C(kind), C(message) and C(remedy) of what went wrong; null if nothing did.
      type: dict
    command:
      description: The command line that was run.
      type: list
      elements: str
    started_at:
      description: When the run began, UTC, ISO 8601.
      type: str
    requests:
      description: Requests that should be sent.
      type: int
    concurrency:
      description: Requests that should be in flight.
      type: int
    complete:
      description: Requests that ended, successfully or not.
      type: int
    failed:
      description: Failures as C(ab) counts them; up to three for one request.
      type: int
    failures:
      description: Failures by kind, C(connect), C(receive), C(length), C(exceptions), C(write).
      type: dict
    non_2xx:
      description: Responses with a status other than 2xx.
      type: int
    duration_s:
      description: Seconds that the run took.
      type: float
    requests_per_second:
      description: Complete requests per second.
      type: float
    p50_ms:
      description: Milliseconds within which half of the requests were served; likewise C(p95_ms), C(p99_ms).
      type: int
    max_ms:
      description: Milliseconds of the longest request.
      type: int
    curve_ms:
      description: Milliseconds at each percent of the requests, from 0 on.
      type: list
      elements: float
    ab_version:
      description: Version of C(ab).
      type: str
    engine:
      description: Name and version of the load generator, such as V(ab 2.3).
      type: str
    began_s:
      description: When the run began by this host's clock, seconds since the epoch.
      type: float
    histogram_ms:
      description: With O(histogram), how many requests took how many milliseconds.
      type: dict
    raw:
      description: With O(histogram), what C(ab) printed.
      type: str
    files:
      description: Paths of the kept raw output, C(output) and C(percentiles).
      type: dict
  sample:
    outcome: measured
    requests: 1000
    concurrency: 1000
    complete: 1000
    failed: 0
    non_2xx: 0
    requests_per_second: 3980.12
    p50_ms: 233
    p95_ms: 340
    p99_ms: 361
    max_ms: 372
    duration_s: 0.251
    ab_version: "2.3"
"""

import datetime
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import engine, running
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.ab import (
    AbResult,
    parse,
    parse_percentiles_csv,
    parse_requests_tsv,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.engine import LoadError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.result import (
    ARGUMENTS,
    execute,
    keep,
    shortage,
    target_mistakes,
    transcript,
    wait_until,
)


def command_line(
    params: Mapping[str, Any], ab: str, requests: int, concurrency: int, csv: str, each: str = ""
) -> list[str]:
    """Build the command of one run.

    Args:
        params: the module's parameters.
        ab: path of the executable.
        requests: total number of requests.
        concurrency: requests in flight.
        csv: path for the percentiles; empty for none.
        each: path for one line a request; empty for none.

    Returns:
        The words of the command.
    """
    command = [ab, "-n", str(requests), "-c", str(concurrency), "-s", str(params["timeout_s"])]
    if params["data_file"]:
        command += ["-p", params["data_file"], "-T", params["content_type"]]
    if csv:
        command += ["-e", csv]
    if each:
        command += ["-g", each]
    if params["any_length"]:
        command.append("-l")
    if params["keep_going"]:
        command.append("-r")
    return [*command, params["url"]]


def mistakes(params: Mapping[str, Any]) -> str:
    """Return what is wrong with the parameters, before ``ab`` prints its whole usage text.

    Args:
        params: the module's parameters.

    Returns:
        Empty if nothing is.
    """
    for requests, concurrency in (("requests", "concurrency"), ("warmup_requests", "warmup_concurrency")):
        if params[requests] and not 0 < params[concurrency] <= params[requests]:
            return f"{concurrency} is {params[concurrency]}: it must be 1 to {requests} ({params[requests]})"
    if params["requests"] < 1:
        return "requests must be at least 1"
    return target_mistakes(params["url"], params["data_file"])


def run_ab(command: list[str], time_limit_s: int) -> tuple[AbResult, str]:
    """Run ``ab`` once.

    Args:
        command: the command and its arguments.
        time_limit_s: seconds after which it is ended.

    Returns:
        The result, and the raw output with the command above it.
    """
    stdout, stderr, returncode = execute(command, time_limit_s)
    result = parse(stdout, stderr, returncode or 0)
    if returncode is None:
        progress = [line for line in stderr.splitlines() if line.startswith("Completed ")]
        done = f" ({progress[-1].lower()})" if progress else ""
        result = AbResult(
            ab_version=result.ab_version,
            error=LoadError("time_limit", f"ab was not finished after {time_limit_s} s{done} and was ended"),
        )
    return result, transcript(command, stdout, stderr, returncode)


def measure(module: AnsibleModule, ab: str) -> dict[str, Any]:
    """Run the warm-up and the run.

    Args:
        module: the module, for its parameters.
        ab: path of the executable.

    Returns:
        The value that is returned as ``ab``.
    """
    params = module.params
    found: dict[str, Any] = {"outcome": "measured", "reason": "", "files": {}}
    prefix = params["raw_prefix"]
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        csv = Path(folder) / "percentiles.csv"
        if params["body"] is not None:
            body = Path(folder) / "body"
            body.write_text(params["body"], encoding="utf-8")
            params = {**params, "data_file": str(body)}
        if params["warmup_requests"]:
            # A warm-up that fails is not a result: the run after it meets the same fault, and that one counts.
            warmup = command_line(params, ab, params["warmup_requests"], params["warmup_concurrency"], "")
            result, _raw = run_ab(warmup, params["time_limit_s"])
            found["warmup"] = {"complete": result.complete, "error": str(result.error or "")}
        each = Path(folder) / "requests.tsv"
        kept = str(each) if params["keep_requests"] or params["histogram"] else ""
        command = command_line(params, ab, params["requests"], params["concurrency"], str(csv), kept)
        found["command"] = command
        wait_until(params["start_at"])
        found["began_s"] = round(time.time(), 3)
        found["started_at"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        result, raw = run_ab(command, params["time_limit_s"])
        curve, lines = (
            path.read_text(encoding="ascii", errors="replace") if path.is_file() else "" for path in (csv, each)
        )
    if prefix:
        kept_lines = lines if params["keep_requests"] else ""
        texts = {"output": ("txt", raw), "percentiles": ("csv", curve), "requests": ("tsv", kept_lines)}
        found["files"] = keep(prefix, texts)
    if params["histogram"]:
        found |= {"histogram_ms": parse_requests_tsv(lines), "raw": raw}
    numbers = result.to_dict()
    numbers["engine"] = engine.title("ab", result.ab_version)
    numbers["curve_ms"] = parse_percentiles_csv(curve, result.complete or 0)
    numbers["concurrency"] = params["concurrency"]
    numbers["requests"] = params["requests"]
    if result.error:
        found.update(outcome="failed", reason=str(result.error))
    return {**numbers, **found}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS
        | {
            "requests": {"type": "int", "default": 1000},
            "concurrency": {"type": "int", "default": 1000},
            "timeout_s": {"type": "int", "default": 60},
            "time_limit_s": {"type": "int", "default": 300},
            "warmup_requests": {"type": "int", "default": 0},
            "warmup_concurrency": {"type": "int", "default": 50},
            "keep_requests": {"type": "bool", "default": False},
            "any_length": {"type": "bool", "default": False},
            "keep_going": {"type": "bool", "default": False},
            "executable": {"type": "str", "default": "ab"},
        },
        mutually_exclusive=[("data_file", "body")],
        supports_check_mode=True,
    )
    params = module.params
    running.Job(
        "ab",
        f"install ApacheBench: {packages.how_to_install('ab')}",
        {"requests": params["requests"], "concurrency": params["concurrency"], "error": None},
        mistakes(params),
        lambda executable: measure(module, executable),
        lambda: shortage(params["concurrency"], params["capacity"]),
    ).run(module)


if __name__ == "__main__":
    main()
