"""Another Python than the system's: what an interpreter of a host is, and why an application cannot run with it.

Root creates virtual environments with it, so nobody else may be able to change it. That is found out without running
it; what it says of itself, it says as an account that may do nothing.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import accounts

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

OLDEST = (3, 9)
# What a service does not see: ProtectHome=yes and PrivateTmp=yes, systemd.exec(5).
_HIDDEN = ("/root", "/home", "/run/user", "/tmp", "/var/tmp")
# Packages of others are not imported from there (-I -S), and have files by the thousand.
_PACKAGES = ("site-packages", "dist-packages")
_NOBODY = 65534
_TIMEOUT = 30
_NEEDED = ("ssl", "venv", "zlib")
_PROBE = f"""
import importlib, json, sys, sysconfig
missing = []
for name in {_NEEDED!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
names = ("Py_ENABLE_SHARED", "Py_GIL_DISABLED", "INSTSONAME", "LIBDIR", "MULTIARCH")
print(json.dumps({{
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "text": sys.version,
    "stdlib": sysconfig.get_path("stdlib"),
    "include": [sysconfig.get_path("include"), sysconfig.get_path("platinclude")],
    "missing": missing,
    "config": {{name: sysconfig.get_config_var(name) for name in names}},
}}))
"""


class InterpreterError(Exception):
    """An application cannot run with an interpreter: why, and what to do. The text continues ``PATH ``."""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that an application can run with.

    Args:
        path: its own path, whatever links lead to it.
        version: its version, such as ``3.12``.
        full: the same with the last number.
        text: what ``sys.version`` is.
        libpython: the folder of its shared library.
        include: the folders of its headers.
    """

    path: str
    version: str
    full: str
    text: str
    libpython: str
    include: tuple[str, ...]

    @property
    def headers(self) -> bool:
        """Whether something can be compiled for it."""
        return (Path(self.include[0]) / "Python.h").is_file()

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which gcc finds its headers and its library, and the result finds the library.

        An interpreter may name the folders in which it was built, and not those in which it is.
        """
        return {
            "CPATH": ":".join(self.include),
            "LIBRARY_PATH": self.libpython,
            "LDFLAGS": f"-L{self.libpython} -Wl,-rpath,{self.libpython}",
        }


def facts(path: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is different on this host for an application whose interpreter is not the distribution's.

    Args:
        path: the interpreter's path; empty for the one that runs this.
        known: the facts of the host, for the one that runs this.

    Returns:
        nothing for the distribution's, if it is the one that runs this. For another, ``chosen``: the path that was
        ``asked`` for; its own ``path``; ``full``, its version; ``headers``, whether it has some; and ``problem``,
        why it cannot be used, or an empty string. If it can, ``platform``, ``python`` and ``libpython`` are its
        own, too.
    """
    if _is_usual(path):
        return {}
    asked = path or sys.executable
    chosen = {"asked": asked, "path": os.path.realpath(asked)}
    try:
        found = examine(asked)
    except InterpreterError as error:
        otherwise = "" if path else ". Or set flask_uwsgi_python to another interpreter for the application"
        return {"chosen": {**chosen, "full": "", "headers": False, "problem": f"{error}{otherwise}"}}
    return {
        "chosen": {**chosen, "full": found.full, "headers": found.headers, "problem": ""},
        "platform": f"{known['platform'].rpartition('-py')[0]}-py{found.version}",
        "python": found.version,
        "libpython": True,
    }


def of(module: AnsibleModule) -> Interpreter | None:
    """Return the interpreter that a module was given, or None for the usual one; fail if it is unusable.

    The check does not rely on the plan's: whoever runs an interpreter as root needs it.
    """
    path = str(module.params["python"])
    if not path or _is_usual(path):
        return None
    try:
        return examine(path)
    except InterpreterError as error:
        module.fail_json(msg=f"flask_uwsgi_python={path} {error}. Nothing was changed.")
        raise


def _is_usual(path: str) -> bool:
    """Return whether an interpreter is the distribution's and runs this, so that packages have what belongs to it.

    Args:
        path: its path; empty for the one that runs this.
    """
    own = Path(os.path.realpath(sys.executable))
    usual = own.is_relative_to("/usr") and not own.is_relative_to("/usr/local")
    return usual and (not path or os.path.realpath(path) == str(own))


def examine(path: str) -> Interpreter:
    """Return what an interpreter is.

    Args:
        path: its absolute path, or that of a link to it.

    Raises:
        InterpreterError: it is missing or unusable, others than root can change it, or the service would not see it.
    """
    own = Path(os.path.realpath(path))
    if not own.is_file():
        raise InterpreterError(
            "does not exist on this host, or is no file: install the same interpreter on every host, or empty the "
            "variable to use the system's Python"
        )
    shown = "" if str(own) == path else f"leads to {own}, which "
    if hidden := next((folder for folder in _HIDDEN if own.is_relative_to(folder)), ""):
        raise InterpreterError(
            f"{shown}is in {hidden}, which the service cannot see (ProtectHome, PrivateTmp): install it below /opt or "
            "/usr/local, with uv by `UV_PYTHON_INSTALL_DIR=/opt/python uv python install`"
        )
    prefix = own.parent.parent
    _insist_on_root([own, *own.parents, *_library(prefix)])
    said = _asked(own)
    version = ".".join(map(str, said["version"][:2]))
    if said["implementation"] != "cpython" or said["config"]["Py_GIL_DISABLED"]:
        kind = said["implementation"] if said["implementation"] != "cpython" else "free-threaded"
        raise InterpreterError(f"{shown}is {kind}, which uWSGI cannot use: name a CPython with its usual lock")
    if tuple(said["version"]) < OLDEST:
        raise InterpreterError(f"{shown}is Python {version}: name one of {'.'.join(map(str, OLDEST))} or newer")
    if said["missing"]:
        raise InterpreterError(
            f"{shown}has no module {' and no module '.join(said['missing'])}: install what the distribution has split "
            "off, or build it again with the headers of OpenSSL and zlib"
        )
    if not any(os.path.realpath(said["stdlib"]) == os.path.realpath(folder) for folder in _folders(prefix)):
        raise InterpreterError(
            f"{shown}uses the standard library in {said['stdlib']}, which is not below {prefix}: name an interpreter "
            "that has its own"
        )
    return Interpreter(
        path=str(own),
        version=version,
        full=".".join(map(str, said["version"])),
        text=said["text"],
        libpython=str(_libpython(prefix, version, said["config"], shown)),
        include=tuple(dict.fromkeys(said["include"])),
    )


def _folders(prefix: Path) -> list[Path]:
    """Return the folders of the standard library of an installation."""
    return sorted(folder for library in ("lib", "lib64") for folder in (prefix / library).glob("python3.*"))


def _library(prefix: Path) -> Iterator[Path]:
    """Yield every file and folder of the standard library, and the folders above."""
    for top in _folders(prefix):
        yield from (top.parent, top)
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in _PACKAGES]
            yield from (Path(folder, name) for name in (*folders, *names))


def _insist_on_root(paths: list[Path]) -> None:
    for path in paths:
        try:
            # Of a link, both count.
            found = [path.lstat(), path.stat()]
        except FileNotFoundError:
            # A link that leads nowhere.
            continue
        for status in found:
            if status.st_uid != os.geteuid():
                who = accounts.user_name(status.st_uid)
                raise InterpreterError(
                    f"cannot be trusted: {path} belongs to {who}, who could run code as root. Install it as root, or "
                    "`chown -R root:root` it"
                )
            if not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise InterpreterError(
                    f"cannot be trusted: {path} has the mode {stat.S_IMODE(status.st_mode):04o}, so that others could "
                    "run code as root. `chmod -R go-w` it"
                )


def _asked(own: Path) -> dict[str, Any]:
    """Return what an interpreter says of itself."""
    # The service is not root, either.
    account: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    remedy = "Install one that runs on this host, and that every account can read (`chmod -R go+rX`)"
    try:
        done = subprocess.run(
            [str(own), "-I", "-S", "-c", _PROBE],
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_TIMEOUT, check=False, **account,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise InterpreterError(f"cannot be run as nobody: {lines[-1] if lines else done.returncode}. {remedy}")
        said: dict[str, Any] = json.loads(done.stdout)
        return said
    except (OSError, subprocess.SubprocessError) as error:
        raise InterpreterError(f"cannot be run as nobody: {error}. {remedy}") from error
    except ValueError as error:
        raise InterpreterError("does not answer as a Python does: name the interpreter itself, no script") from error


def _libpython(prefix: Path, version: str, config: Mapping[str, Any], shown: str) -> Path:
    """Return the folder of the shared library."""
    name = str(config["INSTSONAME"])
    wanted = name if ".so" in name else f"libpython{version}.so.1.0"
    probed = [prefix / "lib", prefix / "lib64", Path(config["LIBDIR"] or prefix)]
    probed = [folder / (inner or "") for folder in probed for inner in dict.fromkeys(("", config["MULTIARCH"]))]
    found = next((folder for folder in probed if (folder / wanted).is_file()), None)
    if not config["Py_ENABLE_SHARED"] or not found:
        raise InterpreterError(
            f"{shown}has no shared library, which uWSGI needs: there is no {wanted} in "
            f"{', '.join(map(str, dict.fromkeys(probed)))} (Py_ENABLE_SHARED={config['Py_ENABLE_SHARED']}). Install "
            f"the package libpython{version}, or a Python that was built with --enable-shared, such as uv's"
        )
    library = Path(os.path.realpath(found / wanted))
    _insist_on_root([library, *library.parents, *found.parents])
    return found
