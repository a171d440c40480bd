"""What must hold before a host is changed: every problem at once, each with its remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import secrets

MODES = ("gevent", "threads")
SUPPORTED = {("debian", "12"), ("debian", "13")}

_NUMBERS: dict[str, tuple[type[int] | type[float], int, int]] = {
    "processes": (int, 1, 512),
    "gevent": (int, 1, 100_000),
    "threads": (int, 1, 32_768),
    "switch_interval_ms": (int, 1, 1000),
    "port": (int, 1, 65_535),
    "backlog": (int, 1, 65_535),
    "keep_releases": (int, 1, 100),
    "canary_seconds": (float, 0, 600),
    "hang_timeout": (int, 0, 86_400),
    "memory_mb": (int, 0, 10**7),
    "worker_memory_mb": (int, 0, 10**7),
    "min_free_mb": (int, 0, 10**9),
    "start_timeout": (int, 1, 3600),
    "stop_timeout": (int, 1, 3600),
    "socket_timeout": (int, 1, 3600),
    "health_timeout": (int, 1, 600),
    "health_status": (int, 200, 599),
    "wait": (float, 0, 3600),
}
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}"
_TEXTS = {
    # The canaries of an app `x` have the units of an app `x-canary`.
    "app_name": (
        r"(?!.*-(canary|relief)$)[a-z][a-z0-9_-]{0,29}",
        "a name of a-z, 0-9, _ and -, at most 30 long, a letter first and neither -canary nor -relief last",
    ),
    "user": (_ACCOUNT, "a valid account name"),
    "group": (_ACCOUNT, "a valid group name"),
    "callable": (r"[A-Za-z_][A-Za-z0-9_]*", "the name of the WSGI application in flask_uwsgi_wsgi_file"),
    "health_path": (r"/[!-~]*", "a path that starts with /, in ASCII and without spaces"),
    "bind": (rf"{_BYTE}(\.{_BYTE}){{3}}", "an IPv4 address of the host, or 0.0.0.0"),
}

# Each has a variable of its own: set twice, the ini would say two things.
MANAGED_KEYS = {
    "callable": "flask_uwsgi_callable",
    "chdir": "flask_uwsgi_source",
    "socket-timeout": "flask_uwsgi_socket_timeout",
    "gevent": "flask_uwsgi_gevent",
    "gevent-early-monkey-patch": "flask_uwsgi_mode",
    "home": "flask_uwsgi_requirements",
    "listen": "flask_uwsgi_backlog",
    "log-format": "flask_uwsgi_log_format",
    "processes": "flask_uwsgi_processes",
    "reload-on-rss": "flask_uwsgi_worker_memory_mb",
    "threads": "flask_uwsgi_threads",
    "workers": "flask_uwsgi_processes",
    "wsgi-file": "flask_uwsgi_wsgi_file",
}
# systemd and the swap depend on these; there is no other value that works.
FIXED_KEYS = {
    "daemonize", "die-on-term", "harakiri", "hook-master-start", "http-socket", "master", "need-app", "pidfile",
    "protocol", "socket", "stats", "strict",
}  # fmt: skip

# Sockets, log and event descriptors of a worker besides those of its requests.
_SPARE_FILES = 256
_FILES_PER_CORE = {"gevent": 2, "threads": 3}
_SPARE_TASKS = 64


def files_per_worker(mode: str, cores: int) -> int:
    """Return the open files one worker may need.

    A request in flight has its connection and commonly one to a backend. In threads mode each thread has
    an epoll descriptor of its own as well (uWSGI 2.0.31, ``core/loop.c``: ``simple_loop_run``).
    """
    return cores * _FILES_PER_CORE[mode] + _SPARE_FILES


def tasks(mode: str, processes: int, cores: int) -> int:
    """Return the processes and threads the service may need; greenlets are neither."""
    return processes * (cores + 16 if mode == "threads" else 32) + _SPARE_TASKS


def value_problems(s: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the settings alone.

    Args:
        s: the role's variables without their prefix, as they were given.
    """
    if s["mode"] not in MODES:
        yield f"flask_uwsgi_mode={s['mode']} is no mode: set it to {' or '.join(MODES)}"
    for name, (kind, low, high) in _NUMBERS.items():
        try:
            fits = low <= kind(str(s[name])) <= high
        except ValueError:
            fits = False
        if not fits:
            what = "a whole number" if kind is int else "a number"
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to {what} from {low} to {high}"
    for name in ("break_lock", "log_requests", "log_x_forwarded_for", "manage_sysctl", "secrets_in_environment"):
        if truth(s[name]) is None:
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to true or false"
    for name, (pattern, remedy) in _TEXTS.items():
        if not re.fullmatch(pattern, str(s[name])):
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to {remedy}"
    for name in ("environment", "extra_ini", "unit_overrides"):
        if not isinstance(s[name], Mapping):
            shown = f"={s[name]}" if name != "environment" else ", whose value may be a secret,"
            yield f"flask_uwsgi_{name}{shown} is not valid: set it to a dictionary"
    for key in _dictionary(s["extra_ini"]):
        if key in MANAGED_KEYS:
            yield f"flask_uwsgi_extra_ini has {key!r}, which has a variable: set {MANAGED_KEYS[key]} instead"
        elif key in FIXED_KEYS:
            yield f"flask_uwsgi_extra_ini has {key!r}, which the service depends on: remove it"
    for key in _dictionary(s["environment"]):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(key)):
            yield f"flask_uwsgi_environment has {key!r}, which is no name of an environment variable: rename it"
    yield from secrets.problems(s["secrets"], _dictionary(s["environment"]), bool(truth(s["secrets_in_environment"])))


def truth(value: Any) -> bool | None:
    """Read a boolean as Ansible's filter ``bool`` does, but take nothing else for false."""
    word = str(value).lower()
    return True if word in ("true", "yes", "on", "1") else False if word in ("false", "no", "off", "0") else None


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def source_problems(s: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the application's files on the controller.

    Args:
        s: the role's variables without their prefix.
    """
    source = Path(s["source"])
    if not source.is_dir():
        yield (
            f"flask_uwsgi_source={s['source']} is not a directory on the controller: "
            "set it to the folder that holds your application"
        )
        return
    wsgi_file = Path(s["wsgi_file"])
    if wsgi_file.is_absolute() or ".." in wsgi_file.parts or not (source / wsgi_file).is_file():
        yield (
            f"flask_uwsgi_wsgi_file={s['wsgi_file']} does not exist in flask_uwsgi_source={s['source']}: "
            "set it to the file that makes the WSGI application"
        )
    if not Path(s["lock"]).is_file():
        yield (
            f"flask_uwsgi_requirements={s['lock']} does not exist on the controller: "
            "set it to a requirements file with exact versions and hashes"
        )


def settings_problems(s: dict[str, Any]) -> list[str]:
    """Return every problem that can be told without asking a host."""
    return [*value_problems(s), *source_problems(s)]


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
    if s["secrets"] and not host["shared_mounts"]:
        yield (
            "flask_uwsgi_secrets need mounts to be shared between namespaces, which they are not on this host, a "
            "container: run `mount --make-rshared /` in it whenever it has started"
        )
    mode, processes, cores = s["mode"], int(s["processes"]), int(s[s["mode"]])
    need_files = files_per_worker(mode, cores)
    if need_files > host["nofile"]:
        most = (host["nofile"] - _SPARE_FILES) // _FILES_PER_CORE[mode]
        yield (
            f"flask_uwsgi_{mode}={cores} needs {need_files} open files in each worker, and this host allows "
            f"{host['nofile']}: "
            + (f"set it to {most} or less, or " if most > 0 else "")
            + "raise the hard limit of open files (LimitNOFILE)"
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
    if int(s["backlog"]) > host["somaxconn"] and not truth(s["manage_sysctl"]):
        yield (
            f"flask_uwsgi_backlog={s['backlog']} is above net.core.somaxconn={host['somaxconn']} of this host: "
            "lower it, or set flask_uwsgi_manage_sysctl=true to have somaxconn raised"
        )
    if host["free_mb"] < int(s["min_free_mb"]):
        yield (
            f"flask_uwsgi_base_dir={s['base_dir']} has {host['free_mb']} MB free, flask_uwsgi_min_free_mb="
            f"{s['min_free_mb']} are wanted: free space there or choose another directory"
        )
    if s["bind"] not in ("0.0.0.0", *host["addresses"]) and not str(s["bind"]).startswith("127."):
        known = ", ".join(host["addresses"])
        yield f"flask_uwsgi_bind={s['bind']} is no address of this host: set it to 0.0.0.0 or one of {known}"
    for holder in app["strangers"]:
        yield (
            f"flask_uwsgi_port={s['port']} is taken by {holder['name']} (pid {holder['pid']}): "
            "stop that program or choose another port"
        )


def preflight_problems(state: dict[str, Any], s: dict[str, Any]) -> list[str]:
    """Return every problem of a host.

    Args:
        state: the result of the module ``host_state``.
        s: the role's variables without their prefix.
    """
    return list(host_problems(s, state["host"], state["app"]))
