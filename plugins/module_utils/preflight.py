"""What must hold before a host is changed: every problem at once, each with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

SUPPORTED = {("debian", "12"), ("debian", "13")}

# Each has a variable of its own: set twice, the ini would say two things.
MANAGED_KEYS = {
    "callable": "flask_uwsgi_callable",
    "chdir": "flask_uwsgi_source",
    "gevent": "flask_uwsgi_gevent",
    "gevent-early-monkey-patch": "flask_uwsgi_mode",
    "home": "flask_uwsgi_lock",
    "listen": "flask_uwsgi_backlog",
    "log-format": "flask_uwsgi_log_format",
    "processes": "flask_uwsgi_processes",
    "threads": "flask_uwsgi_threads",
    "workers": "flask_uwsgi_processes",
    "wsgi-file": "flask_uwsgi_wsgi_file",
}
# systemd and the swap depend on these; there is no other value that works.
FIXED_KEYS = {
    "daemonize", "die-on-term", "hook-master-start", "http-socket", "master", "need-app", "pidfile",
    "protocol", "socket", "stats", "strict",
}  # fmt: skip

# Sockets, log and event descriptors of a worker besides those of its requests.
_SPARE_FILES = 256
_SPARE_TASKS = 64


def files_per_worker(mode: str, cores: int) -> int:
    """Return the open files one worker may need.

    A request in flight has its connection and commonly one to a backend. In threads mode each thread has
    an epoll descriptor of its own as well (uWSGI 2.0.31, ``core/loop.c``: ``simple_loop_run``).
    """
    return cores * (3 if mode == "threads" else 2) + _SPARE_FILES


def tasks(mode: str, processes: int, cores: int) -> int:
    """Return the processes and threads the service may need; greenlets are neither."""
    return processes * (cores + 16 if mode == "threads" else 32) + _SPARE_TASKS


def value_problems(s: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the settings alone.

    Args:
        s: the role's variables without their prefix.
    """
    for name, low, high in (
        ("processes", 1, 512),
        ("gevent", 1, 100_000),
        ("threads", 1, 32_768),
        ("port", 1, 65_535),
        ("backlog", 1, 65_535),
        ("keep_releases", 1, 100),
        ("start_timeout", 1, 3600),
        ("stop_timeout", 1, 3600),
        ("health_timeout", 1, 600),
        ("wait", 0, 3600),
    ):
        if not low <= float(s[name]) <= high:
            yield f"flask_uwsgi_{name}={s[name]} is out of range: set it to {low} to {high}"
    for name, pattern, remedy in (
        ("app_name", r"[a-z][a-z0-9_-]{0,29}", "a name of a-z, 0-9, _ and -, at most 30 long, a letter first"),
        ("user", r"[a-z_][a-z0-9_-]{0,31}", "a valid account name"),
        ("group", r"[a-z_][a-z0-9_-]{0,31}", "a valid group name"),
        ("callable", r"[A-Za-z_][A-Za-z0-9_]*", "the name of the WSGI application in flask_uwsgi_wsgi_file"),
        ("health_path", r"/\S*", "a path that starts with /"),
        ("bind", r"[0-9.]+", "an IPv4 address of the host, or 0.0.0.0"),
    ):
        if not re.fullmatch(pattern, str(s[name])):
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to {remedy}"
    for key in s["extra_ini"]:
        if key in MANAGED_KEYS:
            yield f"flask_uwsgi_extra_ini has {key!r}, which has a variable: set {MANAGED_KEYS[key]} instead"
        elif key in FIXED_KEYS:
            yield f"flask_uwsgi_extra_ini has {key!r}, which the service depends on: remove it"
    for key in s["environment"]:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(key)):
            yield f"flask_uwsgi_environment has {key!r}, which is no name of an environment variable: rename it"


def host_problems(s: dict[str, Any], host: dict[str, Any], app: dict[str, Any]) -> Iterator[str]:
    """Yield what this host cannot give.

    Args:
        s: the role's variables without their prefix.
        host: ``host`` of the module ``host_state``.
        app: ``app`` of the same module.
    """
    system = f"{host['distribution']} {host['version']}"
    if (host["distribution"], host["version"]) not in SUPPORTED:
        known = ", ".join(" ".join(entry) for entry in sorted(SUPPORTED))
        yield f"ansible_host runs {system}, which is not supported: use one of {known}"
    if not host["systemd"]:
        yield "ansible_host does not run systemd as its first process: use a host that does"
    mode, processes, cores = s["mode"], int(s["processes"]), int(s[s["mode"]])
    need_files = files_per_worker(mode, cores)
    if need_files > host["nofile"]:
        most = (host["nofile"] - _SPARE_FILES) // (need_files // max(cores, 1) or 1)
        yield (
            f"flask_uwsgi_{mode}={cores} needs {need_files} open files in each worker, and this host allows "
            f"{host['nofile']}: set it to {most} or less, or raise the hard limit of open files (LimitNOFILE)"
        )
    if processes * need_files > host["file_max"]:
        yield (
            f"flask_uwsgi_processes={processes} × flask_uwsgi_{mode}={cores} needs {processes * need_files} open "
            f"files, and the kernel allows {host['file_max']}: lower one of them or raise fs.file-max"
        )
    need_tasks = tasks(mode, processes, cores)
    if need_tasks > host["tasks"]:
        yield (
            f"flask_uwsgi_processes={processes} × flask_uwsgi_{mode}={cores} needs {need_tasks} tasks, and this host "
            f"allows {host['tasks']}: lower one of them, or raise the limit (nproc, kernel.pid_max)"
        )
    if int(s["backlog"]) > host["somaxconn"] and not s["manage_sysctl"]:
        yield (
            f"flask_uwsgi_backlog={s['backlog']} is above net.core.somaxconn={host['somaxconn']} of this host: "
            "lower it, or set flask_uwsgi_manage_sysctl=true to have somaxconn raised"
        )
    if host["free_mb"] < int(s["min_free_mb"]):
        yield (
            f"flask_uwsgi_base_dir={s['base_dir']} has {host['free_mb']} MB free, flask_uwsgi_min_free_mb="
            f"{s['min_free_mb']} are wanted: free space there or choose another directory"
        )
    for holder in app["strangers"]:
        yield (
            f"flask_uwsgi_port={s['port']} is taken by {holder['name']} (pid {holder['pid']}): "
            "stop that program or choose another port"
        )


def problems(settings: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """Return every problem of a host, those of the settings first.

    Args:
        settings: the role's variables without their prefix.
        state: the result of the module ``host_state``.
    """
    found = list(value_problems(settings))
    # Arithmetic on senseless numbers would only repeat what was said.
    return found or list(host_problems(settings, state["host"], state["app"]))
