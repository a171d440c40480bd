"""What must hold before a host is changed: every problem at once, each with its remedy."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...module_utils.host import names, persistent, selinux
from ...module_utils.host.packages import FAMILIES
from ...module_utils.release import secrets, values
from ...module_utils.release.artifact import ArtifactError, masked
from ..run.truth import truth
from ..source.folder import Distribution, Folder, Git, Package, local, parse
from . import binding, capabilities, entry
from .specs import OPTIONS, of_type

MODES = OPTIONS["mode"].choices
GEVENT_CHECKS = OPTIONS["gevent_check"].choices

# The least and the most of each number.
RANGES: dict[str, tuple[int, int]] = {
    "processes": (1, 512),
    "gevent": (1, 100_000),
    "threads": (1, 32_768),
    "switch_interval_ms": (1, 1000),
    "port": (1, 65_535),
    "backlog": (1, 65_535),
    "keep_releases": (1, 100),
    "lease": (60, 86_400),
    "canary_seconds": (0, 600),
    "command_timeout": (1, 86_400),
    "gevent_check_requests": (2, 200),
    "gevent_check_timeout": (5, 3600),
    "gevent_check_memory_mb": (64, 10**6),
    "hang_timeout": (0, 86_400),
    "memory_mb": (0, 10**7),
    "worker_memory_mb": (0, 10**7),
    "min_free_mb": (0, 10**9),
    "start_timeout": (1, 3600),
    "stop_timeout": (1, 3600),
    "socket_timeout": (1, 3600),
    "request_timeout": (1, 3600),
    "request_min_rate": (1, 10**9),
    "header_size": (1024, 65_535),
    "body_mb": (0, 10**6),
    "health_timeout": (1, 600),
    "health_status": (200, 599),
}
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}"
_TEXTS = {
    "user": (_ACCOUNT, "a valid account name"),
    "group": (_ACCOUNT, "a valid group name"),
    "python": (
        r"(/(?!\.\.?(/|$))[A-Za-z0-9._+-]+)*",
        "the absolute path of an interpreter on the hosts, such as /usr/bin/python3.12, or empty it",
    ),
    "mount": (r"(/[A-Za-z0-9._~-]+)*", "a path such as /shop, without a slash at its end, or empty it"),
    "health_path": (
        r"(/[!-~]*)?",
        "a path that starts with /, in ASCII and without spaces, or empty it if there is none",
    ),
    "gevent_check_path": (r"(/[!-~]*)?", "a path that starts with /, in ASCII and without spaces, or empty it"),
    "health_host": (
        r"([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?",
        "a host name or an address, with a port if need be, such as shop.example.org",
    ),
    "socket_group": (rf"({_ACCOUNT})?", "the group that may connect to the UNIX socket, or empty it"),
}

# Each has a variable of its own: set twice, the ini would say two things.
MANAGED_KEYS = {
    "callable": "flask_uwsgi_callable",
    "chdir": "flask_uwsgi_source",
    "module": "flask_uwsgi_module",
    "mount": "flask_uwsgi_mount",
    "lazy": "flask_uwsgi_preload",
    "lazy-apps": "flask_uwsgi_preload",
    "pythonpath": "flask_uwsgi_python_path",
    "static-map": "flask_uwsgi_static",
    "socket-timeout": "flask_uwsgi_socket_timeout",
    "gevent": "flask_uwsgi_gevent",
    "gevent-early-monkey-patch": "flask_uwsgi_mode",
    "header-size": "flask_uwsgi_header_size",
    "home": "flask_uwsgi_requirements",
    "limit-post": "flask_uwsgi_body_mb",
    "listen": "flask_uwsgi_backlog",
    "log-format": "flask_uwsgi_log_format",
    "processes": "flask_uwsgi_processes",
    "request-min-rate": "flask_uwsgi_request_min_rate",
    "request-timeout": "flask_uwsgi_request_timeout",
    "reload-on-rss": "flask_uwsgi_worker_memory_mb",
    "threads": "flask_uwsgi_threads",
    "workers": "flask_uwsgi_processes",
    "wsgi-file": "flask_uwsgi_wsgi_file",
}
# systemd and the swap depend on these; there is no other value that works.
FIXED_KEYS = {
    "daemonize", "die-on-term", "harakiri", "hook-master-start", "http-socket", "master", "need-app", "pidfile",
    "protocol", "py-call-osafterfork", "py-call-uwsgi-fork-hooks", "skip-atexit-teardown", "socket", "stats", "strict",
}  # fmt: skip

# As it begins a folder of flask_uwsgi_static.
STATE = "$STATE_DIRECTORY"
# Sockets, log and event descriptors of a worker besides those of its requests.
_SPARE_FILES = 256
_FILES_PER_CORE = {"gevent": 2, "threads": 3}
# What any program may open, unless the host or its unit says otherwise.
_USUAL_FILES = 1024
# Of libraries, of an executor and of children, in one worker on average, and in all of them together. A unit's limit
# is one for all of its processes.
_WORKER_TASKS = 64
_SPARE_TASKS = 256
# How many threads the native pools of numpy, scipy and the like have in each worker.
POOLS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "BLIS_NUM_THREADS",
)  # fmt: skip
_OF_THE_SYSTEM = re.compile(r"(?!.*/\.\./)/(usr|lib)(32|64)?/[!-~]*$")
# Of folders: they stand in the ini and in scripts.
_SAFE = re.compile(r"[A-Za-z0-9._/+-]+")


def files_per_worker(mode: str, cores: int) -> int:
    """Return the open files one worker may need.

    A request in flight has its connection and commonly one to a backend. In threads mode each thread also has a
    descriptor by which it is woken (``roles/artifact/files/patches``: ``14-thread-queues.patch``).
    """
    return cores * _FILES_PER_CORE[mode] + _SPARE_FILES


def open_files(mode: str, cores: int) -> int:
    """Return the files that one worker may open: as many as it may need, and no fewer than any program may."""
    return max(files_per_worker(mode, cores), _USUAL_FILES)


def tasks(mode: str, processes: int, cores: int, environment: Mapping[str, Any] | None = None) -> int:
    """Return the processes and threads the service may need; greenlets are neither.

    Args:
        mode: ``gevent`` or ``threads``.
        processes: the workers.
        cores: the requests that each of them serves at a time.
        environment: the value of ``flask_uwsgi_environment``, which can give native pools more than one thread.
    """
    own = (cores if mode == "threads" else 0) + _WORKER_TASKS + pool_threads(environment or {})
    return processes * own + _SPARE_TASKS


def pool_threads(environment: Mapping[str, Any]) -> int:
    """Return how many threads the native pools of one worker have beside the one that calls them."""
    # OpenMP takes a list, one number for each level.
    sizes = (re.match(r"[1-9]\d{0,4}(?=,|$)", str(environment.get(name, 1)).strip()) for name in POOLS)
    return sum(int(size[0]) - 1 for size in sizes if size)


def most_threads(processes: int, host: Mapping[str, int]) -> int:
    """Return the threads that each worker may have on a host.

    Args:
        processes: the workers.
        host: the limits ``tasks``, ``nofile`` and ``file_max`` of the module ``host_state``.
    """
    by_tasks = (host["tasks"] - _SPARE_TASKS) // processes - _WORKER_TASKS
    by_files = (min(host["nofile"], host["file_max"] // processes) - _SPARE_FILES) // _FILES_PER_CORE["threads"]
    return max(1, min(by_tasks, by_files))


def value_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the settings alone.

    Args:
        s: the role's variables without their prefix, as they were given.
    """
    if s["mode"] not in MODES:
        yield f"flask_uwsgi_mode={s['mode']} is no mode: set it to {' or '.join(MODES)}"
    if s["untested"] not in capabilities.UNTESTED:
        choices = " or ".join(capabilities.UNTESTED)
        yield f"flask_uwsgi_untested={s['untested']} is not valid: set it to {choices}"
    # YAML reads a bare off as false.
    if s["gevent_check"] not in (*GEVENT_CHECKS, False):
        yield (
            f"flask_uwsgi_gevent_check={s['gevent_check']} is not valid: set it to "
            f"{', '.join(GEVENT_CHECKS[:2])} or {GEVENT_CHECKS[2]}"
        )
    elif s["mode"] == "auto" and s["gevent_check"] in ("off", False):
        yield "flask_uwsgi_mode=auto needs the check: set flask_uwsgi_gevent_check to enforce or warn, or choose a mode"
    for name, (low, high) in RANGES.items():
        kind = int if OPTIONS[name].type == "int" else float
        try:
            fits = low <= kind(str(s[name])) <= high
        except ValueError:
            fits = False
        if not fits:
            what = "a whole number" if kind is int else "a number"
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to {what} from {low} to {high}"
    for name in of_type("bool"):
        if truth(s[name]) is None:
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to true or false"
    for name, (pattern, remedy) in _TEXTS.items():
        if not re.fullmatch(pattern, str(s[name])):
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to {remedy}"
    yield from filter(None, (entry.callable_problem(s["callable"]), entry.module_problem(s["module"])))
    yield from names.value_problems(s)
    yield from binding.value_problems(s)
    for name in ("environment", "extra_ini", "static", "unit_overrides"):
        if not isinstance(s[name], Mapping):
            shown = f"={s[name]}" if name != "environment" else ", whose value may be a secret,"
            yield f"flask_uwsgi_{name}{shown} is not valid: set it to a dictionary"
    for key in _dictionary(s["extra_ini"]):
        if key in MANAGED_KEYS:
            yield f"flask_uwsgi_extra_ini has {key!r}, which has a variable: set {MANAGED_KEYS[key]} instead"
        elif key in FIXED_KEYS:
            yield f"flask_uwsgi_extra_ini has {key!r}, which the service depends on: remove it"
    for name in ("post_activate", "pre_activate", "python_path", "trusted_proxies"):
        if not (isinstance(s[name], list) and all(isinstance(item, str) for item in s[name])):
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to a list of strings"
    for folder in s["python_path"] if isinstance(s["python_path"], list) else []:
        if not _inside(folder):
            yield f"flask_uwsgi_python_path has {folder!r}, which leads out of the source: name a folder in it"
    for proxy in s["trusted_proxies"] if isinstance(s["trusted_proxies"], list) else []:
        yield from _proxy_problem(proxy)
    yield from persistent.problems(s["persistent"])
    for path, folder in _dictionary(s["static"]).items():
        inside = str(folder).removeprefix(f"{STATE}/").partition(":")[2] or str(folder).removeprefix(f"{STATE}/")
        if not re.fullmatch(r"/[!-~]*[^/]", str(path)) or not _inside(inside):
            yield (
                f"flask_uwsgi_static has {path}={folder}, which is not valid: set it to a path such as /static and a "
                f"folder of the source, of a package as package:folder, or below {STATE}/"
            )
    for key in _dictionary(s["environment"]):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(key)):
            yield f"flask_uwsgi_environment has {key!r}, which is not the name of an environment variable: rename it"
        elif key in ("FLASK_UWSGI_GENERATION", "FLASK_UWSGI_ROLE"):
            yield f"flask_uwsgi_environment has {key!r}, which the service sets for each process: remove it"
    for name, value in _dictionary(s["environment"]).items():
        # systemd starts what writes the pidfile, as root, with the same environment; the loader obeys these (ld.so(8)).
        if str(name).startswith("LD_") and not all(map(_OF_THE_SYSTEM.match, re.split(r"[:;\s]", str(value)))):
            yield (
                f"flask_uwsgi_environment has {name!r}, which leads elsewhere than to the system: set it to absolute "
                "paths below /usr or /lib, where only packages put files"
            )
    yield from values.environment_problems({**s, "environment": _dictionary(s["environment"])})
    yield from values.entry_problems(s)
    yield from values.file_problems(s["files"])
    yield from secrets.problems(s["secrets"], _dictionary(s["environment"]), bool(truth(s["secrets_in_environment"])))


def _proxy_problem(proxy: Any) -> Iterator[str]:
    # Those who may connect to the UNIX socket.
    if proxy == "unix:":
        return
    wrong = f"flask_uwsgi_trusted_proxies has {proxy!r}, which"
    try:
        network = ipaddress.ip_network(str(proxy), strict=False)
    except ValueError:
        yield f"{wrong} is neither an address nor a network: write one such as 10.0.0.5 or 10.0.1.0/28, or unix:"
        return
    if not network.prefixlen:
        yield f"{wrong} trusts every client: name the addresses of the proxies"
    elif "/" in str(proxy) and str(network) != str(proxy):
        yield f"{wrong} is an address within a network: write {network}, or the address alone"


def _inside(folder: Any) -> bool:
    path = Path(str(folder))
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and bool(_SAFE.fullmatch(str(folder)))


def _dictionary(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def source_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the application's files on the controller.

    What is in a git repository is judged when it is checked out.

    Args:
        s: the role's variables without their prefix.
    """
    try:
        source = parse(str(s["source"] or ""))
    except ArtifactError as error:
        yield str(error)
        return
    if isinstance(source, Package | Distribution) and not s["module"]:
        yield (
            f"flask_uwsgi_module is empty, and flask_uwsgi_source={s['source']} has no flask_uwsgi_wsgi_file: "
            "set it to the WSGI application in the package, as package.module:name"
        )
    folder = source.path if isinstance(source, Folder) else Path()
    paths = {}
    for name in ("wsgi_file", "requirements"):
        if not isinstance(s[name], str):
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to the name of a file"
            continue
        try:
            paths[name] = local(f"flask_uwsgi_{name}", s[name])
        except ArtifactError as error:
            yield str(error)
    if (wsgi_file := paths.get("wsgi_file")) and not s["module"]:
        leaves = wsgi_file.is_absolute() or ".." in wsgi_file.parts
        if leaves or (isinstance(source, Folder) and not (folder / wsgi_file).is_file()):
            yield (
                f"flask_uwsgi_wsgi_file={s['wsgi_file']} does not exist in flask_uwsgi_source="
                f"{masked(str(s['source']))}: set it to the file that makes the WSGI application"
            )
    requirements = paths.get("requirements")
    known = requirements and (not isinstance(source, Git) or requirements.is_absolute())
    if s["requirements"] and requirements and known and not (folder / requirements).is_file():
        yield (
            f"flask_uwsgi_requirements={s['requirements']} does not exist on the controller: "
            "set it to a requirements file or pyproject.toml, relative to flask_uwsgi_source"
        )


def package_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what can be no package of any distribution, by its name alone.

    Args:
        s: the role's variables without their prefix.
    """
    kinds = " or ".join(family.a_kind for family in FAMILIES.values())
    for name in ("build_packages", "packages"):
        if not isinstance(s[name], list):
            yield f"flask_uwsgi_{name}={s[name]} is not valid: set it to a list of packages of the hosts' distribution"
            continue
        for package in s[name]:
            if not any(family.name.fullmatch(str(package)) for family in FAMILIES.values()):
                yield f"flask_uwsgi_{name} has {str(package)!r}, which is no name of {kinds}: correct it"


def _package_names(s: Mapping[str, Any], manager: str) -> Iterator[str]:
    """Yield the packages that the package manager of a host cannot have; a build host has the same one."""
    family = FAMILIES.get(manager)
    for name in ("build_packages", "packages"):
        for package in s[name]:
            if family and not family.name.fullmatch(str(package)):
                yield (
                    f"flask_uwsgi_{name} has {str(package)!r}, which is no name of {family.a_kind}, and this host has "
                    f"{manager}: correct it"
                )


def settings_problems(s: Mapping[str, Any]) -> list[str]:
    """Return every problem that can be found without asking a host."""
    return [*value_problems(s), *package_problems(s), *source_problems(s)]


def host_problems(s: Mapping[str, Any], host: Mapping[str, Any], app: Mapping[str, Any]) -> Iterator[str]:
    """Yield what this host cannot give.

    Args:
        s: the role's variables without their prefix.
        host: ``host`` of the module ``host_state``.
        app: ``app`` of the same module.
    """
    yield from capabilities.problems(host, s["untested"])
    if (chosen := host.get("chosen")) and chosen["problem"]:
        yield f"{capabilities.interpreter(s['python'], chosen)} {chosen['problem']}"
    if s["secrets"] and not host["shared_mounts"]:
        yield (
            "flask_uwsgi_secrets need mounts to be shared between namespaces, which they are not on this host, a "
            "container: run `mount --make-rshared /` in it whenever it has started"
        )
    # What auto becomes is not known yet, and gevent is what its check needs.
    mode = "gevent" if s["mode"] == "auto" else s["mode"]
    processes, cores = int(s["processes"]), int(s[mode])
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
    need_tasks = tasks(mode, processes, cores, _dictionary(s["environment"]))
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
    yield from _package_names(s, host["package_manager"])
    if said := selinux.problem(host["program_type"], s["base_dir"]):
        yield said
    yield from names.host_problems(s, app)
    yield from binding.host_problems(s, host, app)


def preflight_problems(state: Mapping[str, Any], s: Mapping[str, Any]) -> list[str]:
    """Return every problem of a host.

    Args:
        state: the result of the module ``host_state``.
        s: the role's variables without their prefix.
    """
    return list(host_problems(s, state["host"], state["app"]))
