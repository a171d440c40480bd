#!/usr/bin/python
"""Ansible module: run wrk and return its numbers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: wrk
short_description: Run wrk and return what it measured
version_added: "0.1.0"
extends_documentation_fragment:
  - flaskops.uwsgi.load
description:
  - Runs C(wrk) against one URL for some seconds, and returns its numbers with the names that the module
    M(flaskops.uwsgi.ab) uses. C(wrk) speaks HTTP/1.1, has several threads, and is limited by time instead of
    requests; a request that is in flight at the end does not count. Its latencies are corrected for coordinated
    omission, so while the server stalls, those of the requests that would have been sent are added.
  - Fails with a reason and a remedy if C(wrk) is missing, gives up or prints nothing that can be read.
    Failed requests, slow ones and responses other than 2xx are measurements, and do not fail the module.
  - A run for which this host cannot open enough files, or has too few local ports, is skipped with a warning.
options:
  concurrency:
    description:
      - Connections, each with one request in flight (C(-c)).
    type: int
    default: 1000
  duration_s:
    description:
      - Seconds of the run (C(-d)).
    type: int
    default: 10
  warmup_s:
    description:
      - Seconds of a warm-up with at most 50 connections, which is not measured. V(0) for none.
    type: int
    default: 0
  threads:
    description:
      - Threads of C(wrk) (C(-t)); at most O(concurrency).
    type: int
    default: 2
  timeout_s:
    description:
      - Seconds without a response after which C(wrk) counts a request as timed out (C(--timeout)).
    type: int
    default: 60
  executable:
    description:
      - Name or path of C(wrk).
    type: str
    default: wrk
attributes:
  check_mode:
    description: Sends no load in check mode, and returns V(skipped) as C(outcome).
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to compare.
    support: none
seealso:
  - module: flaskops.uwsgi.ab
author:
  - The flaskops maintainers (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Send load from the controller
  flaskops.uwsgi.wrk:
    url: http://app1.example.org:8040/user_manage/user/login
    concurrency: 1000
    duration_s: 10
    data_file: "{{ playbook_dir }}/data.txt"
  delegate_to: localhost
  become: false
  register: run
"""

RETURN = r"""
wrk:
  description: >-
    The run, as M(flaskops.uwsgi.ab) returns it: C(outcome), C(reason), C(error), C(command), C(engine), C(started_at),
    C(requests) (the complete ones), C(concurrency), C(complete), C(failed), C(failures) by the kinds
    C(connect), C(read), C(write) and C(timeout), C(non_2xx) (3xx are none of these), C(duration_s),
    C(requests_per_second), C(p50_ms), C(p95_ms), C(p99_ms), C(max_ms), C(curve_ms), C(files); with O(histogram)
    C(histogram_ms) and C(raw).
  returned: always
  type: dict
  sample:
    outcome: measured
    requests: 38012
    concurrency: 1000
    complete: 38012
    failed: 0
    non_2xx: 0
    requests_per_second: 3801.2
    p50_ms: 251
    p95_ms: 320
    p99_ms: 371
    max_ms: 420
    duration_s: 10.0
    engine: wrk 4.1.0
"""

import datetime
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import engine, result, running, wrk

# Seconds that wrk may take beyond its duration: it waits for its threads.
_GRACE_S = 30


def mistakes(params: Mapping[str, Any]) -> str:
    """Return what is wrong with the parameters; empty if nothing is."""
    for name in ("concurrency", "duration_s", "threads", "timeout_s"):
        if params[name] < 1:
            return f"{name} is {params[name]}: it must be at least 1"
    return result.target_mistakes(params["url"], params["data_file"])


def command_line(params: Mapping[str, Any], executable: str, script: str, concurrency: int, seconds: int) -> list[str]:
    """Build the command of one run.

    Args:
        params: the module's parameters.
        executable: path of wrk.
        script: path of its script.
        concurrency: connections.
        seconds: how long it runs.
    """
    threads = min(params["threads"], concurrency)
    return [
        executable, "-t", str(threads), "-c", str(concurrency), "-d", f"{seconds}s",
        "--timeout", f"{params['timeout_s']}s", "-s", script, params["url"],
    ]  # fmt: skip


def measure(module: AnsibleModule, executable: str) -> dict[str, Any]:
    """Run the warm-up and the run, and return the value of ``wrk``.

    Args:
        module: the module, for its parameters.
        executable: path of wrk.
    """
    params = module.params
    body = Path(params["data_file"]).read_text(encoding="utf-8") if params["data_file"] else params["body"]
    printed = subprocess.run([executable, "-v"], capture_output=True, text=True, check=False)
    number = engine.version("wrk", printed.stdout)
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        script = Path(folder) / "run.lua"
        script.write_text(wrk.script(body, params["content_type"]), encoding="utf-8")
        if params["warmup_s"]:
            warmup = command_line(params, executable, str(script), min(50, params["concurrency"]), params["warmup_s"])
            result.execute(warmup, params["warmup_s"] + _GRACE_S)
        command = command_line(params, executable, str(script), params["concurrency"], params["duration_s"])
        result.wait_until(params["start_at"])
        begun = {
            "began_s": round(time.time(), 3),
            "started_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        stdout, stderr, returncode = result.execute(command, params["duration_s"] + _GRACE_S)
    raw = result.transcript(command, stdout, stderr, returncode)
    parsed = wrk.parse(stdout, stderr, returncode)
    found = running.outcome(params, parsed, raw)
    return {
        **found,
        **begun,
        "command": command,
        "engine": engine.title("wrk", number),
        "concurrency": params["concurrency"],
        "requests": found.get("complete", 0),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=result.ARGUMENTS
        | {
            "concurrency": {"type": "int", "default": 1000},
            "duration_s": {"type": "int", "default": 10},
            "warmup_s": {"type": "int", "default": 0},
            "threads": {"type": "int", "default": 2},
            "timeout_s": {"type": "int", "default": 60},
            "executable": {"type": "str", "default": "wrk"},
        },
        mutually_exclusive=[("data_file", "body")],
        supports_check_mode=True,
    )
    params = module.params
    running.Job(
        "wrk",
        packages.how_to_install("wrk"),
        {"requests": 0, "concurrency": params["concurrency"], "error": None, "engine": "wrk"},
        mistakes(params),
        lambda executable: measure(module, executable),
        lambda: result.shortage(params["concurrency"], params["capacity"]),
    ).run(module)


if __name__ == "__main__":
    main()
