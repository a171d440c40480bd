"""Suggests what to do about an exception that prevents an application from working."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..release.manifest import Manifest
from .tracebacks import Raised, Traceback

_MOST = 400
_ERRNO = re.compile(r"\[Errno -?\d+\] ")
MEND = "Correct the application"

# Modules whose distribution has another name.
_DISTRIBUTIONS = {
    "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv-python-headless", "dateutil": "python-dateutil",
    "decouple": "python-decouple", "dotenv": "python-dotenv", "environ": "django-environ", "flask_login": "Flask-Login",
    "flask_sqlalchemy": "Flask-SQLAlchemy", "google.protobuf": "protobuf", "jose": "python-jose", "jwt": "PyJWT",
    "magic": "python-magic", "MySQLdb": "mysqlclient", "OpenSSL": "pyOpenSSL", "PIL": "Pillow",
    "pkg_resources": "setuptools<81", "distutils": "setuptools", "psycopg2": "psycopg2-binary",
    "rest_framework": "djangorestframework", "sklearn": "scikit-learn", "slugify": "python-slugify", "yaml": "PyYAML",
    "zmq": "pyzmq",
}  # fmt: skip
_NO_MODULE = re.compile(r"No module named '?(?P<name>[\w.]+)'?")
_NO_LIBRARY = re.compile(r"(?P<name>[\w.+-]+\.so[\w.]*): cannot open shared object file")
# Patterns of an environment variable's name, and of words that say it is missing.
_NAME = re.compile(r"(?<![\w.])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)")
_QUOTED = re.compile(r"(?<![\w.])['\"`]?([A-Z][A-Z0-9_]{2,})['\"`]?(?!\w)")
_MISSING = re.compile(
    r"(?i)not set|isn't set|unset|must (?:not be empty|be (?:set|provided|defined|given))|missing|required|undefined"
    r"|define"
    r"|not (?:defined|found|configured|provided|given)|empty|configure|provide|(?:^| )set "
)
_ENVIRONMENT = re.compile(r"(?i)environ|envvar|\benv\b")
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|KEY|DSN|CREDENTIAL|PRIVATE|_UR[IL]\b")
_QUOTED_PATH = re.compile(r"(?<=: )b?'([^']+)'")
_RELEASE = re.compile(r"^/\S*?/releases/[^/]+/")
# A peer that cannot be reached, as reported by database and HTTP clients.
_UNREACHED = re.compile(
    r"(?i)refused|timed? ?out|could not translate host|name or service not known|name resolution|nodename nor servname"
    r"|can't connect|cannot connect|failed to connect|no route to host|network is unreachable|No such file or directory"
    r"|max retries|server closed the connection"
)
_CLIENTS = re.compile(
    r"(?:Operational|Connection|Connect|Timeout|ServerSelectionTimeout|NewConnection|MaxRetry|Interface|AMQPConnection"
    r"|Connection(?:Refused|Reset)|NoBrokersAvailable|NoHostAvailable)Error|Timeout|ConnectTimeout|ReadTimeout|gaierror"
)
_PEERS = (
    r'server at "(?P<host>[^"]+)"(?: \([^)]*\))?, port (?P<port>\d+)',
    r"connecting to (?P<host>[^\s:]+):(?P<port>\d+)",
    r"host='(?P<host>[^']+)', port=(?P<port>\d+)",
    r"[Cc]an't connect to \w+ server on '(?P<host>[^':]+)(?::(?P<port>\d+))?'",
    r'could not translate host name "(?P<host>[^"]+)"',
    r"socket \"(?P<host>/[^\"]+)\"",
    r"(?:^|[\s(\[])(?P<host>[a-zA-Z0-9][\w.-]*):(?P<port>\d{2,5})(?![\w.])",
)


def explain(traceback: Traceback, manifest: Manifest) -> str:
    """Return what was raised, what led to it, and what to do.

    Args:
        traceback: the failure's traceback.
        manifest: the generation that failed.
    """
    last, root = traceback.last, traceback.chain[0]
    why = ""
    if root is not last and _ERRNO.sub("", root.text).rstrip(".") not in last.text:
        why = f" ({'while it handled' if root.context else 'because of'} {_short(root.said)})"
    remedy = next((found for one in _candidates(traceback) for rule in _RULES if (found := rule(one, manifest))), MEND)
    return f"{_short(last.said)}{why}. {remedy[0].upper()}{remedy[1:]}"


def named(text: str, manifest: Manifest | None = None) -> str:
    """Return what to set if a text names a missing environment variable; empty if it does not."""
    if not _MISSING.search(text):
        return ""
    strict = _ENVIRONMENT.search(text)
    name = (_QUOTED if strict else _NAME).search(text)
    if not name:
        return ""
    found = name[name.re.groups]
    return _set(found, manifest) if strict else _perhaps(found, manifest)


def _perhaps(name: str, manifest: Manifest | None) -> str:
    return f"if it reads {name} from its environment, {_set(name, manifest)}"


def _short(text: str) -> str:
    return (text if len(text) <= _MOST else f"{text[:_MOST]} …").rstrip(".")


def _candidates(traceback: Traceback) -> Iterator[Raised]:
    """Yield the exceptions that a remedy may be known for, most likely first."""
    *before, last = traceback.chain
    yield last
    yield from (raised for raised in reversed(before) if not raised.context)
    # Many programs try an import and continue without it.
    yield from (raised for raised in reversed(before) if raised.context and "Import" not in raised.kind
                and raised.kind != "ModuleNotFoundError")  # fmt: skip


def _set(name: str, manifest: Manifest | None) -> str:
    if manifest and name in manifest.secrets.names:
        return (
            f"{name} is one of flask_uwsgi_secrets, which are files: read $CREDENTIALS_DIRECTORY/{name}, or set "
            "flask_uwsgi_secrets_in_environment=true"
        )
    if _SECRET.search(name):
        return (
            f"set {name} in flask_uwsgi_secrets (with flask_uwsgi_secrets_in_environment=true), or in "
            "flask_uwsgi_environment if it is not secret"
        )
    return f"set {name} in flask_uwsgi_environment"


def _module(raised: Raised, _manifest: Manifest) -> str:
    if raised.kind not in ("ModuleNotFoundError", "ImportError", "ImproperlyConfigured"):
        return ""
    if match := _NO_LIBRARY.search(raised.text):
        return f"Add the package of the host's distribution that contains {match['name']} to flask_uwsgi_packages"
    match = _NO_MODULE.search(raised.text)
    if not match:
        return ""
    name = match["name"]
    if name.partition(".")[0] in ("tkinter", "_tkinter"):
        return "Add python3-tk (python3-tkinter on RHEL) to flask_uwsgi_packages"
    package = _DISTRIBUTIONS.get(name) or _DISTRIBUTIONS.get(name.partition(".")[0])
    which = f"{package}, which provides it," if package else f"the package that provides {name}"
    return (
        f"Add {which} to the application's requirements (flask_uwsgi_requirements). If {name} is part of the "
        "application, check that flask_uwsgi_source contains it and artifact_exclude does not leave it out, and add "
        "its folder to flask_uwsgi_python_path"
    )


def _environment(raised: Raised, manifest: Manifest) -> str:
    text = raised.text
    if raised.kind == "KeyError":
        name = text.strip("'\"")
        inner = raised.frames[-1] if raised.frames else None
        if inner and inner.function == "__getitem__" and re.search(r"<frozen os>|/os\.py$", inner.file):
            return _set(name, manifest)
        return _perhaps(name, manifest) if _NAME.fullmatch(name) else ""
    if raised.kind == "ValidationError" and "Field required" in text:
        missing = re.findall(r"(\w+) Field required", text)
        names = ", ".join(name.upper() for name in missing)
        return f"Set {names} in flask_uwsgi_environment, or in flask_uwsgi_secrets" if missing else ""
    if raised.kind == "EnvError" or raised.kind == "UndefinedValueError":
        text = f"environment: {text}"
    return named(text, manifest)


def _program(raised: Raised, _manifest: Manifest) -> str:
    if raised.kind != "FileNotFoundError" or not any(one.function == "_execute_child" for one in raised.frames):
        return ""
    match = _QUOTED_PATH.search(raised.text)
    program = match[1] if match else ""
    return f"Add the package of the host's distribution that contains the program {program} to flask_uwsgi_packages"


def _address(raised: Raised, manifest: Manifest) -> str:
    if "Address already in use" not in raised.text:
        return ""
    return (
        f"Each of flask_uwsgi_processes={manifest.processes} workers loads the application, and so do the canary and "
        "the next generation beside it: a port that is bound during the import is taken by the first. Serve it "
        "separately from the application"
    )


def _path(raised: Raised, _manifest: Manifest) -> str:
    text = raised.text
    match = _QUOTED_PATH.search(text)
    shown = _RELEASE.sub("", match[1]) if match else ""
    if raised.kind == "FileNotFoundError" and shown:
        if shown.startswith("/"):
            return (
                f"Create {shown} on the host for the account of flask_uwsgi_user, or place it with flask_uwsgi_files "
                "and name it below $FLASK_UWSGI_FILES"
            )
        return (
            f"The release does not contain {shown}: check that flask_uwsgi_source contains it and artifact_exclude "
            "does not leave it out, or place it with flask_uwsgi_files and name it below $FLASK_UWSGI_FILES"
        )
    if raised.kind == "PermissionError" and shown:
        return f"Give the account of flask_uwsgi_user access to {shown}, or use a path below $STATE_DIRECTORY"
    return ""


def _reached(raised: Raised, _manifest: Manifest) -> str:
    if not _CLIENTS.search(raised.kind) or not _UNREACHED.search(raised.text):
        return ""
    found = (match for pattern in _PEERS if (match := re.search(pattern, raised.text)))
    match = next(found, None)
    peer = "what it connects to"
    if match:
        port = match.groupdict().get("port")
        peer = f"{match['host']}:{port}" if port else match["host"]
    return (
        f"It cannot reach {peer} from the host: check that it runs and accepts connections from the host, and check "
        "the address that the application is given (flask_uwsgi_environment, flask_uwsgi_secrets)"
    )


def _host(raised: Raised, _manifest: Manifest) -> str:
    # The messages of Django and of Werkzeug.
    if raised.kind == "DisallowedHost" and "HTTP_HOST" in raised.text:
        names = "ALLOWED_HOSTS"
    elif raised.kind == "SecurityError" and "is not trusted" in raised.text:
        names = "TRUSTED_HOSTS"
    else:
        return ""
    return f"Set flask_uwsgi_health_host to a host that the application allows, or add that one to {names}"


_RULES: tuple[Callable[[Raised, Manifest], str], ...] = (
    _module, _program, _address, _host, _reached, _path, _environment,
)  # fmt: skip
