#!/usr/bin/python
"""Ansible module: run h2load and return its numbers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: h2load
short_description: Run h2load and return what it measured
version_added: "0.1.0"
extends_documentation_fragment:
  - flaskops.uwsgi.load
description:
  - Runs C(h2load) against one URL, over HTTP/2 or HTTP/1.1, with or without TLS, and returns its numbers with the names
    that the module M(flaskops.uwsgi.ab) uses. It can connect to another host than the one in the URL, so it measures a
    site through a load balancer even if the site's name does not resolve yet. It does not verify certificates.
  - Connections are persistent. The time of a request begins when it is sent, on a connection that has been made; the
    time of the run includes making the connections.
  - Fails with a reason and a remedy if C(h2load) is missing, gives up or prints nothing that can be read, if no
    connection was made, and if the server does not speak O(protocol). Failed requests, slow ones and responses other
    than 2xx are measurements, and do not fail the module.
  - C(h2load) does not replace a connection that breaks. The requests that it would have sent on it count as failed.
  - A run for which this host cannot open enough files, or has too few local ports, is skipped with a warning.
options:
  protocol:
    description:
      - What to speak. Without TLS, V(h2) begins with HTTP/2 at once, which few servers accept.
    type: str
    choices: [http/1.1, h2]
    default: h2
  requests:
    description:
      - Total number of requests (C(-n)).
    type: int
    default: 1000
  concurrency:
    description:
      - Clients, each with one connection (C(-c)); at most O(requests).
    type: int
    default: 100
  streams:
    description:
      - Requests in flight on each HTTP/2 connection (C(-m)). Always one with HTTP/1.1.
    type: int
    default: 1
  connect_to:
    description:
      - HOST or HOST:PORT to connect to, instead of those in the URL (C(--connect-to)). An IPv6 address is in brackets.
    type: str
    default: ""
  warmup_requests:
    description:
      - Number of requests in the warm-up, which has at most 50 clients and is not measured. V(0) for none.
    type: int
    default: 0
  timeout_s:
    description:
      - Seconds without activity after which a connection is closed and its requests count as failed (C(-N)).
    type: int
    default: 60
  time_limit_s:
    description:
      - Seconds after which a run that still gets responses is ended.
    type: int
    default: 300
  executable:
    description:
      - Name or path of C(h2load).
    type: str
    default: h2load
attributes:
  check_mode:
    description: Sends no load in check mode, and returns V(skipped) as C(outcome).
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to compare.
    support: none
seealso:
  - module: flaskops.uwsgi.ab
  - module: flaskops.uwsgi.wrk
author:
  - The flaskops maintainers (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Measure a site through a load balancer
  flaskops.uwsgi.h2load:
    url: https://shop.example.org/healthz
    connect_to: 192.0.2.10:443
    requests: 5000
    concurrency: 200
  delegate_to: localhost
  become: false
  register: run
"""

RETURN = r"""
h2load:
  description: >-
    The run, as M(flaskops.uwsgi.ab) returns it: C(outcome), C(reason), C(error), C(command), C(engine), C(started_at),
    C(requests), C(concurrency), C(streams), C(complete) (the requests that got a response), C(failed),
    C(failures) by the kinds C(read), C(timeout) and C(unsent), C(non_2xx), C(duration_s), C(requests_per_second),
    C(protocol) (V(h2c) is HTTP/2 without TLS), C(p50_ms), C(p95_ms), C(p99_ms), C(max_ms), C(curve_ms), C(files); with
    O(histogram) C(histogram_ms) and C(raw).
  returned: always
  type: dict
  sample:
    outcome: measured
    requests: 5000
    concurrency: 200
    streams: 1
    complete: 5000
    failed: 0
    non_2xx: 0
    requests_per_second: 2906.98
    p50_ms: 61
    p95_ms: 88
    p99_ms: 120
    max_ms: 171
    duration_s: 1.72
    protocol: h2
    engine: h2load 1.52.0
"""

import datetime
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import engine, h2load, result, running
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.engine import LoadError

# HOST or HOST:PORT. h2load refuses an IPv6 address without brackets.
_PLACE = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]@]+)(?::([0-9]{1,5}))?")
_WARMUP_CLIENTS = 50


def mistakes(params: Mapping[str, Any]) -> str:
    """Return what is wrong with the parameters; empty if nothing is."""
    for name in ("requests", "streams", "timeout_s", "time_limit_s"):
        if params[name] < 1:
            return f"{name} is {params[name]}: it must be at least 1"
    if not 0 < params["concurrency"] <= params["requests"]:
        return f"concurrency is {params['concurrency']}: it must be 1 to requests ({params['requests']})"
    if place := params["connect_to"]:
        found = _PLACE.fullmatch(place)
        if not found or not 0 < int(found[1] or 1) < 2**16:
            return f"connect_to is {place!r}: it must be HOST or HOST:PORT, with an IPv6 address in brackets"
    return result.target_mistakes(params["url"], params["data_file"])


def command_line(
    params: Mapping[str, Any], executable: str, requests: int, concurrency: int, log: str = ""
) -> list[str]:
    """Build the command of one run.

    Args:
        params: the module's parameters.
        executable: path of h2load.
        requests: total number of requests.
        concurrency: clients.
        log: path for one line a request; empty for none.
    """
    command = [executable, "-n", str(requests), "-c", str(concurrency), "-N", str(params["timeout_s"])]
    # Without a fallback: by default h2load speaks HTTP/1.1 to a server without HTTP/2.
    command += ["-m", str(params["streams"]), "--npn-list=h2"] if params["protocol"] == "h2" else ["--h1"]
    if params["connect_to"]:
        command.append(f"--connect-to={params['connect_to']}")
    if params["data_file"]:
        command += ["-d", params["data_file"], "-H", f"content-type: {params['content_type']}"]
    if log:
        command.append(f"--log-file={log}")
    return [*command, params["url"]]


def measure(module: AnsibleModule, executable: str) -> dict[str, Any]:
    """Run the warm-up and the run, and return the value of ``h2load``.

    Args:
        module: the module, for its parameters.
        executable: path of h2load.
    """
    params = module.params
    printed = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    number = engine.version("h2load", printed.stdout)
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        if params["body"] is not None:
            body = Path(folder) / "body"
            body.write_text(params["body"], encoding="utf-8")
            params = {**params, "data_file": str(body)}
        if least := params["warmup_requests"]:
            clients = min(_WARMUP_CLIENTS, params["concurrency"], least)
            result.execute(command_line(params, executable, least, clients), params["time_limit_s"])
        each = Path(folder) / "requests.tsv"
        command = command_line(params, executable, params["requests"], params["concurrency"], str(each))
        result.wait_until(params["start_at"])
        begun = {
            "began_s": round(time.time(), 3),
            "started_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        stdout, stderr, returncode = result.execute(command, params["time_limit_s"])
        log = each.read_text(encoding="ascii", errors="replace") if each.is_file() else ""
    raw = result.transcript(command, stdout, stderr, returncode)
    parsed = h2load.parse(stdout, stderr, returncode, log, params["protocol"])
    if isinstance(parsed, LoadError) and parsed.kind == "connect":
        parsed = h2load.obstacle(params["url"], params["connect_to"], params["protocol"], params["timeout_s"])
    found = running.outcome(params, parsed, raw)
    return {
        **found,
        **begun,
        "command": command,
        "engine": engine.title("h2load", number),
        **sent(params),
    }


def sent(params: Mapping[str, Any]) -> dict[str, int]:
    """Return what should be sent, as the result names it."""
    streams = params["streams"] if params["protocol"] == "h2" else 1
    return {"requests": params["requests"], "concurrency": params["concurrency"], "streams": streams}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=result.ARGUMENTS
        | {
            "protocol": {"type": "str", "choices": ["http/1.1", "h2"], "default": "h2"},
            "requests": {"type": "int", "default": 1000},
            "concurrency": {"type": "int", "default": 100},
            "streams": {"type": "int", "default": 1},
            "connect_to": {"type": "str", "default": ""},
            "warmup_requests": {"type": "int", "default": 0},
            "timeout_s": {"type": "int", "default": 60},
            "time_limit_s": {"type": "int", "default": 300},
            "executable": {"type": "str", "default": "h2load"},
        },
        mutually_exclusive=[("data_file", "body")],
        supports_check_mode=True,
    )
    params = module.params
    in_flight = params["concurrency"] * sent(params)["streams"]

    def shortage() -> str:
        return result.shortage(params["concurrency"], 0) or result.capacity_shortage(in_flight, params["capacity"])

    running.Job(
        "h2load",
        packages.how_to_install("h2load"),
        {**sent(params), "error": None, "engine": "h2load"},
        mistakes(params),
        lambda executable: measure(module, executable),
        shortage,
    ).run(module)


if __name__ == "__main__":
    main()
