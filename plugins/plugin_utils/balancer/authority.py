"""The settings with which balancers ask a certificate authority."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..run.truth import truth

_MOST_PORT = 65535


def problems(sites: Any, given: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the settings, if a site needs them.

    Args:
        sites: the value of ``load_balancer_sites``.
        given: the values of ``load_balancer_acme_*``, by the rest of their names; ``taken`` has HAProxy's own ports.
    """
    if not _needed(sites):
        return
    if not truth(given["agree"]):
        yield (
            "load_balancer_acme_agree is not true: read the terms of the certificate authority, and set it to true if "
            "you agree, as tls=acme needs"
        )
    if given["server"] and not re.fullmatch(r"https://\S+", str(given["server"])):
        yield (
            f"load_balancer_acme_server={given['server']} is not valid: set it to the https URL of the authority's "
            'directory, or to "" for certbot\'s default'
        )
    if given["email"] and not re.fullmatch(r"[^@\s,]+@[^@\s,]+", str(given["email"])):
        yield f'load_balancer_acme_email={given["email"]} is not valid: set it to one address, or to "" for none'
    port = str(given["port"])
    if not port.isdecimal() or not 0 < int(port) <= _MOST_PORT or int(port) in map(int, given["taken"]):
        yield f"load_balancer_acme_port={port} is not valid: set it to a free port of the balancers, such as 8402"
    if given["ca"]:
        yield from _bundle(str(given["ca"]))


def _needed(sites: Any) -> bool:
    those: Sequence[Any] = sites if isinstance(sites, list) else []
    return any(isinstance(one, Mapping) and one.get("tls") == "acme" for one in those)


def _bundle(path: str) -> Iterator[str]:
    try:
        text = Path(path).read_text()
    except (OSError, ValueError) as error:
        yield f"load_balancer_acme_ca={path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        return
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        yield f"load_balancer_acme_ca={path} is not a file of certificates in PEM format, without keys"
