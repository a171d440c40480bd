#!/usr/bin/python
"""Ansible module: send requests over connections that are kept alive."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: keepalive
short_description: Send requests over kept connections and count errors
version_added: "0.1.0"
description:
  - Sends GET requests with one C(requests) session, as clients and proxies do, first one at a time,
    then many at a time, and counts errors by kind.
  - C(ab) speaks HTTP/1.0 and does not notice a server that promises to keep a connection and then closes it.
    This client does.
  - Errors are measurements, and do not fail the module.
options:
  url:
    description:
      - The URL to request.
    type: str
    required: true
  sequential:
    description:
      - Number of requests sent one at a time. V(0) for none.
    type: int
    default: 1000
  parallel:
    description:
      - Number of simultaneous requests, each in its own thread. V(0) for none.
    type: int
    default: 100
  rounds:
    description:
      - Number of requests of each parallel thread. From the second on, a connection is reused.
    type: int
    default: 2
  timeout_s:
    description:
      - Seconds to wait for a connection, and for a response.
    type: float
    default: 10
  give_up_after:
    description:
      - Number of consecutive errors after which the rest is not sent, so that a dead host costs little time.
    type: int
    default: 20
requirements:
  - requests, for the Python that runs the module
attributes:
  check_mode:
    description: Sends nothing in check mode, and returns no RV(keepalive).
    support: full
  diff_mode:
    description: Nothing is changed, so there is nothing to compare.
    support: none
author:
  - The flaskops maintainers (!UNKNOWN)
"""

EXAMPLES = r"""
- name: Test kept connections from the controller
  flaskops.uwsgi.keepalive:
    url: http://app1.example.org:8040/healthz
  delegate_to: localhost
  become: false
  register: result
  failed_when: result.keepalive.errors | default(0) > 0
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""

RETURN = r"""
keepalive:
  description: The counts.
  returned: when requests were sent
  type: dict
  contains:
    errors:
      description: Total number of errors.
      type: int
    sequential:
      description: The requests sent one at a time; C(parallel) has the same for the simultaneous ones.
      type: dict
      contains:
        clients:
          description: Threads.
          type: int
        sent:
          description: Requests that were sent.
          type: int
        errors:
          description: Requests without a response, or with a status other than 200.
          type: int
        non_2xx:
          description: Errors that were responses with a status other than 2xx.
          type: int
        kinds:
          description: Errors by kind, such as V(connection_reset), V(read_timeout), V(http_502).
          type: dict
        connections:
          description: Connections that were opened.
          type: int
        gave_up:
          description: Whether the rest was not sent because of too many consecutive errors.
          type: bool
        duration_s:
          description: Seconds from the first to the last.
          type: float
        requests_per_second:
          description: Requests sent per second.
          type: float
        p50_ms:
          description: Median milliseconds of a response; likewise C(p99_ms), C(max_ms). Null if there is none.
          type: int
"""

import collections
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.result import figures

try:
    import requests
    import requests.adapters

    REQUESTS_ERROR = ""
except ImportError:
    REQUESTS_ERROR = traceback.format_exc()


@dataclass
class Counts:
    """The results of a series of requests."""

    clients: int
    sent: int = 0
    non_2xx: int = 0
    gave_up: bool = False
    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    times_ms: list[float] = field(default_factory=list)
    duration_s: float = 0.0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, status: int, ms: float) -> None:
        """Count one request.

        Args:
            kind: the error's kind; empty if there was none.
            status: the response's status; 0 without a response.
            ms: milliseconds that it took.
        """
        with self.lock:
            self.sent += 1
            if kind:
                self.kinds[kind] += 1
            if status:
                self.times_ms.append(ms)
                self.non_2xx += not 200 <= status < 300

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, including the percentiles."""
        numbers = figures(collections.Counter(self.times_ms))
        return {
            "clients": self.clients,
            "sent": self.sent,
            "errors": sum(self.kinds.values()),
            "non_2xx": self.non_2xx,
            "kinds": dict(self.kinds.most_common()),
            "connections": self.connections,
            "gave_up": self.gave_up,
            "duration_s": round(self.duration_s, 3),
            "requests_per_second": round(self.sent / self.duration_s, 2) if self.duration_s else None,
            "p50_ms": numbers.p50_ms,
            "p99_ms": numbers.p99_ms,
            "max_ms": numbers.max_ms,
        }


def error_kind(error: BaseException) -> str:
    """Return a name for an error of ``requests``, after what happened on the wire.

    ``requests`` wraps everything in ConnectionError; the reason is somewhere in the chain.

    Args:
        error: the exception.

    Returns:
        A short name such as ``connection_reset``.
    """
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "connect_timeout"
    if isinstance(error, requests.exceptions.Timeout):
        return "read_timeout"
    known: dict[type[BaseException], str] = {
        ConnectionRefusedError: "connection_refused",
        ConnectionResetError: "connection_reset",
        BrokenPipeError: "broken_pipe",
    }
    seen: BaseException | None = error
    words = str(error)
    while seen is not None:
        for kind, name in known.items():
            if isinstance(seen, kind):
                return name
        nested = [part for part in seen.args if isinstance(part, BaseException)]
        seen = nested[0] if nested else (getattr(seen, "reason", None) or seen.__cause__ or seen.__context__)
        seen = seen if isinstance(seen, BaseException) else None
    if "without response" in words:
        return "closed_without_answer"
    if "Connection refused" in words:
        return "connection_refused"
    return type(error).__name__


def request(session: requests.Session, url: str, timeout_s: float, counts: Counts) -> bool:
    """Send one request and count it.

    Args:
        session: the session, which keeps connections.
        url: the URL to request.
        timeout_s: seconds to wait.
        counts: the counts to add to.

    Returns:
        Whether the response was as expected.
    """
    begin = time.monotonic()
    kind, status = "", 0
    try:
        answer = session.get(url, timeout=timeout_s, allow_redirects=False)
        status = answer.status_code
        if status != 200:
            kind = f"http_{status}"
    except requests.exceptions.RequestException as error:
        kind = error_kind(error)
    counts.add(kind, status, (time.monotonic() - begin) * 1000)
    return not kind


def new_session(connections: int) -> requests.Session:
    """Create a session that keeps this many connections and hides no error.

    Args:
        connections: number of connections to keep for the host.

    Returns:
        The session.
    """
    session = requests.Session()
    # A proxy from the environment would be measured instead of the server, and a retry would hide errors.
    session.trust_env = False
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=max(1, connections), max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def opened_connections(session: requests.Session, url: str) -> int:
    """Count the connections that a session has opened to a URL's host.

    Args:
        session: the session.
        url: a URL of that host.

    Returns:
        The count; 0 if the library does not know.
    """
    # The library requests a pool from the manager by more than the URL (TLS settings), so a lookup by the URL alone
    # would create another one. This session knows only one host. The container cannot be iterated itself.
    pools = getattr(getattr(session.get_adapter(url), "poolmanager", None), "pools", None)
    return sum(int(pools[key].num_connections) for key in pools.keys()) if pools else 0  # noqa: SIM118


def run_sequential(url: str, number: int, timeout_s: float, give_up_after: int) -> Counts:
    """Send requests one at a time.

    Args:
        url: the URL to request.
        number: number of requests.
        timeout_s: seconds to wait for each.
        give_up_after: consecutive errors after which the rest is not sent.

    Returns:
        The counts.
    """
    counts = Counts(clients=1)
    in_a_row = 0
    begin = time.monotonic()
    with new_session(1) as session:
        for _ in range(number):
            in_a_row = 0 if request(session, url, timeout_s, counts) else in_a_row + 1
            if in_a_row >= give_up_after:
                counts.gave_up = counts.sent < number
                break
        counts.connections = opened_connections(session, url)
    counts.duration_s = time.monotonic() - begin
    return counts


def run_parallel(url: str, clients: int, rounds: int, timeout_s: float) -> Counts:
    """Send simultaneous requests over one session.

    Args:
        url: the URL to request.
        clients: number of simultaneous requests.
        rounds: number of consecutive requests by each.
        timeout_s: seconds to wait for each.

    Returns:
        The counts.
    """
    counts = Counts(clients=clients)
    # All start together: without the barrier, the first threads end before the last ones exist.
    barrier = threading.Barrier(clients)
    begin = time.monotonic()

    def client() -> None:
        barrier.wait()
        for _ in range(rounds):
            request(session, url, timeout_s, counts)

    with new_session(clients) as session:
        with ThreadPoolExecutor(max_workers=clients) as pool:
            for future in [pool.submit(client) for _ in range(clients)]:
                future.result()
        counts.connections = opened_connections(session, url)
    counts.duration_s = time.monotonic() - begin
    return counts


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "sequential": {"type": "int", "default": 1000},
            "parallel": {"type": "int", "default": 100},
            "rounds": {"type": "int", "default": 2},
            "timeout_s": {"type": "float", "default": 10},
            "give_up_after": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        module.exit_json(changed=False, msg="check mode: no request was sent")
    if REQUESTS_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=REQUESTS_ERROR)
    found: dict[str, Any] = {"url": params["url"]}
    if params["sequential"] > 0:
        found["sequential"] = run_sequential(
            params["url"], params["sequential"], params["timeout_s"], params["give_up_after"]
        ).to_dict()
    if params["parallel"] > 0:
        found["parallel"] = run_parallel(
            params["url"], params["parallel"], params["rounds"], params["timeout_s"]
        ).to_dict()
    found["errors"] = sum(found[part]["errors"] for part in ("sequential", "parallel") if part in found)
    module.exit_json(changed=False, keepalive=found)


if __name__ == "__main__":
    main()
