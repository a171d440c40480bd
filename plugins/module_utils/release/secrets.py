"""Checks secrets, and derives their part of a generation's name; no message shows a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..host.checksums import slow
from .manifest import Secrets

# systemd's own limit is 1 MiB (systemd 252, src/core/execute.c: CREDENTIALS_TOTAL_SIZE_MAX). Measurements show that
# less fits: each takes whole pages of a tmpfs (257), and an encrypted one may have 1152 KiB as base64 (252).
MOST_KB = 800
_PAGE_KB = 4
# systemd allows more (src/shared/creds-util.c: credential_name_valid), but these are also file names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNDEFINED = re.compile(r"'(\w+)' is undefined|has no (?:attribute|element) '(\w+)'")


def texts(secrets: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets by name, with numbers as strings."""
    return {str(name): str(value) for name, value in secrets.items()}


def problems(secrets: Any, environment: Mapping[str, Any], in_environment: bool) -> Iterator[str]:
    """Yield what is wrong with the secrets.

    Args:
        secrets: the variable ``flask_uwsgi_secrets``.
        environment: the variable ``flask_uwsgi_environment``.
        in_environment: the variable ``flask_uwsgi_secrets_in_environment``.
    """
    if not isinstance(secrets, Mapping):
        yield "flask_uwsgi_secrets, whose value is not shown, is not valid: set it to a dictionary"
        return
    for name, value in secrets.items():
        known = f"flask_uwsgi_secrets has {name!r}"
        if not _NAME.fullmatch(str(name)):
            yield (
                f"{known}, which is not a valid credential name: rename it to at most 200 characters of A-Z, a-z, 0-9, "
                "_, - and ."
            )
        elif in_environment and not _VARIABLE.fullmatch(str(name)):
            yield (
                f"{known}, which is not a valid environment variable name: rename it, "
                "or set flask_uwsgi_secrets_in_environment=false"
            )
        if name in environment:
            yield f"{known}, which is also in flask_uwsgi_environment: remove it from one of them"
        if fault := _fault(value, in_environment):
            yield f"{known}, {fault}"
    sizes = (len(value.encode(errors="replace")) for value in texts(secrets).values())
    pages = sum(-(-size // (_PAGE_KB * 1024)) for size in sizes)
    if pages * _PAGE_KB > MOST_KB:
        yield (
            f"flask_uwsgi_secrets need {pages * _PAGE_KB} kB, at least {_PAGE_KB} each, and systemd can pass "
            f"{MOST_KB}: ship what is not secret with the application"
        )


def _fault(value: Any, in_environment: bool) -> str:
    """Return what is wrong with a value, and what to do, without showing it."""
    if value is None or value == "":
        return "whose value is empty: set it, or remove the entry"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return "whose value is neither a string nor a number: put it in quotes"
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return "whose value is not text: encode it, for instance as base64"
    if in_environment and "\0" in str(value):
        return (
            "whose value has a null byte, which no environment variable can: set "
            "flask_uwsgi_secrets_in_environment=false"
        )
    return ""


def identity(secrets: Mapping[str, Any], app: str) -> Secrets:
    """Return what a manifest, which anyone may read, contains about secrets.

    Args:
        secrets: the variable ``flask_uwsgi_secrets``.
        app: the application's name: two applications with the same secrets have different fingerprints.
    """
    named = texts(secrets)
    return Secrets(tuple(sorted(named)), slow(json.dumps(named, sort_keys=True).encode(), app))


def unknown(name: str, message: str) -> str:
    """Return why a secret cannot be evaluated, and what to do.

    Args:
        name: its entry; an empty string if that applies to all of them.
        message: what Ansible said. It may quote anything: only the name of a variable is taken from it.
    """
    what = f"flask_uwsgi_secrets has {name!r}, which" if name else "flask_uwsgi_secrets"
    problem = f"{what} cannot be evaluated"
    if found := _UNDEFINED.search(message):
        return f"{problem}: {found[1] or found[2]} is not defined. Define it, or correct the reference to it"
    if re.search(r"vault|decrypt", message, re.IGNORECASE):
        return f"{problem}: it cannot be decrypted. Provide its password (--ask-vault-pass, or --vault-password-file)"
    return f"{problem}: its lookup or its expression fails. Correct it"
