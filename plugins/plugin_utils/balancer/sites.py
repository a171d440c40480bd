"""The sites that a load balancer serves, and the applications behind them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from ...module_utils.host.address import ANY, DUAL
from ..run.truth import truth
from .certificates import CertificateError, Pair, checked
from .endpoint import Endpoint

TLS = ("self_signed", "acme", "files", "off")
_KEYS = frozenset({"names", "path", "app", "tls", "certificate", "key", "redirect", "hsts", "rules"})
# RFC 1123, 2.1; the first label may be a wildcard.
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_LONGEST_NAME = 253


@dataclass(frozen=True)
class Site:
    """What visitors ask for, and the application that answers.

    Args:
        id: its name in the configuration.
        names: host names in lower case.
        path: the path that it is below; empty for all paths.
        app: the group of the application's hosts.
        tls: ``self_signed``, ``acme``, ``files`` or ``off``.
        certificate: the name of the file with certificate and key; empty without TLS.
        pair: certificate and key from the controller; None if there are none.
        redirect: whether plain HTTP is redirected.
        hsts: seconds of Strict-Transport-Security; 0 for none.
        rules: further lines for HAProxy.
    """

    id: str
    names: list[str]
    path: str
    app: str
    tls: str
    certificate: str
    pair: Pair | None = field(repr=False)
    redirect: bool
    hsts: int
    rules: list[str]

    @property
    def addresses(self) -> list[str]:
        """What people call it: each name, with the path."""
        return [f"{name}{self.path}" for name in self.names]

    def text(self, http_port: int, https_port: int) -> str:
        """Return the site in a line, for people.

        Args:
            http_port: the port of plain HTTP.
            https_port: the port of HTTPS.
        """
        scheme, port, usual = ("http", http_port, 80) if self.tls == "off" else ("https", https_port, 443)
        colon = "" if port == usual else f":{port}"
        return f"{', '.join(f'{scheme}://{name}{colon}{self.path}' for name in self.names)} -> {self.app}"


@dataclass(frozen=True)
class Backend:
    """An application, and its hosts.

    Args:
        name: the group.
        servers: the endpoint of each host, by name.
    """

    name: str
    servers: dict[str, Endpoint]

    @property
    def first(self) -> Endpoint:
        """What the hosts have in common, such as the health request."""
        return next(iter(self.servers.values()))


@dataclass(frozen=True)
class Plan:
    """What a load balancer will serve.

    Args:
        problems: why it cannot, each with its remedy.
        sites: those with the longest path first.
        backends: the applications.
    """

    problems: list[str]
    sites: list[Site] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)


def planned(given: Any, groups: Mapping[str, Sequence[str]], endpoints: Mapping[str, Endpoint]) -> Plan:
    """Plan the sites of a load balancer.

    Args:
        given: the value of ``load_balancer_sites``.
        groups: the hosts of each group of the inventory.
        endpoints: where the application of each host answers.
    """
    if not isinstance(given, list) or not given or not all(isinstance(one, Mapping) for one in given):
        return Plan(["load_balancer_sites has no sites: describe at least one, with names and app"])
    problems = [problem for number, one in enumerate(given, 1) for problem in _problems(number, one, groups, endpoints)]
    if problems:
        return Plan(problems)
    sites, problems = [], []
    for number, one in enumerate(given, 1):
        try:
            sites.append(_site(one))
        except CertificateError as error:
            problems.append(f"{_where(number)} {error}")
    if problems := [*problems, *_collisions(sites), *_ambiguous(sites)]:
        return Plan(problems)
    backends = [
        Backend(app, {host: endpoints[host] for host in groups[app]}) for app in dict.fromkeys(one.app for one in sites)
    ]
    return Plan(_differences(backends), sorted(sites, key=lambda site: -len(site.path)), backends)


def _where(number: int) -> str:
    return f"site {number} of load_balancer_sites:"


def _problems(
    number: int, site: Mapping[str, Any], groups: Mapping[str, Sequence[str]], endpoints: Mapping[str, Endpoint]
) -> Iterator[str]:
    where = _where(number)
    for key in sorted(set(site) - _KEYS):
        yield f"{where} {key} is not an option of a site: remove it, or write one of {', '.join(sorted(_KEYS))}"
    names = site.get("names")
    if not isinstance(names, list) or not names:
        yield f"{where} names={names} is not valid: list the host names that visitors use"
    for name in names if isinstance(names, list) else []:
        if not _NAME.fullmatch(str(name)) or len(str(name)) > _LONGEST_NAME:
            yield f"{where} names has {name!r}, which is not a host name: write one such as shop.example.org"
    if not _PATH.fullmatch(str(site.get("path", "/"))):
        yield f"{where} path={site['path']} is not valid: set it to a path such as /shop"
    yield from _app_problems(where, site.get("app", ""), groups, endpoints)
    tls = site.get("tls", "self_signed")
    # YAML reads a bare off as false.
    if tls is not False and tls not in TLS:
        yield f"{where} tls={tls} is not valid: set it to one of {', '.join(TLS)}"
    if tls == "acme" and isinstance(names, list) and (wild := [name for name in names if str(name).startswith("*.")]):
        yield (
            f"{where} tls=acme cannot prove {', '.join(wild)}: list each name, or get a certificate elsewhere and set "
            "tls=files"
        )
    for key in ("certificate", "key"):
        if tls == "files" and not site.get(key):
            yield f"{where} tls=files needs {key}: set it to a PEM file on the controller"
        if tls != "files" and site.get(key):
            yield f"{where} {key}={site[key]} is used with tls=files only: set tls, or remove it"
    if truth(site.get("redirect", True)) is None:
        yield f"{where} redirect={site['redirect']} is not valid: set it to true or false"
    if not re.fullmatch(r"\d{1,9}", str(site.get("hsts", 0))):
        yield f"{where} hsts={site['hsts']} is not valid: set it to seconds, or to 0"
    rules = site.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, str) and "\n" not in rule for rule in rules):
        yield f"{where} rules={rules} is not valid: set it to a list of lines for HAProxy"


def _app_problems(
    where: str, app: Any, groups: Mapping[str, Sequence[str]], endpoints: Mapping[str, Endpoint]
) -> Iterator[str]:
    if not app:
        yield f"{where} app is missing: set it to the group of the application's hosts"
    elif not groups.get(str(app)):
        yield f"{where} app={app} is not a group with hosts: set it to the group of the application's hosts"
    elif unknown := [host for host in groups[str(app)] if host not in endpoints]:
        yield (
            f"{where} app={app} has {', '.join(unknown)}, which this run does not reach or which is outside the group "
            "flask: put it below flask, and run without --limit, or with it in --limit"
        )
    else:
        yield from _unreachable(groups[str(app)], groups.get("load_balancer", []), endpoints)


def _unreachable(hosts: Sequence[str], balancers: Sequence[str], endpoints: Mapping[str, Endpoint]) -> Iterator[str]:
    """Yield which applications listen where a balancer cannot reach them."""
    for host in hosts:
        address, bind = endpoints[host].address, endpoints[host].bind
        others = [name for name in balancers if name != host]
        local = address.startswith(("127.", "/")) or address == "::1"
        if local and others and bind in (ANY, DUAL):
            yield (
                f"ansible_host={address} of {host} is the controller's own address, or that of a tunnel, and "
                f"{', '.join(others)} would look for {host} there: set flask_uwsgi_bind to the address of {host} that "
                "the balancers reach"
            )
        elif local and others:
            yield (
                f"flask_uwsgi_bind={address} of {host} is reached from that host alone, not from {', '.join(others)}: "
                "set it to an address that the balancers reach, or to 0.0.0.0"
            )
        elif address.startswith("/"):
            yield (
                f"flask_uwsgi_bind={address} of {host} is a UNIX socket, which HAProxy cannot see from its own root "
                f"directory: set it to 127.0.0.1, which no other host reaches either"
            )
        elif bind == ANY and ":" in address:
            yield (
                f"flask_uwsgi_bind={bind} of {host} has no address of IPv6, and ansible_host={address} is one: set it "
                "to [::]"
            )


def _site(given: Mapping[str, Any]) -> Site:
    names = [str(name).lower() for name in given["names"]]
    path = str(given.get("path", "/")).rstrip("/")
    tls = given.get("tls", "self_signed") or "off"
    pair = checked(str(given["certificate"]), str(given["key"]), names) if tls == "files" else None
    kept = sha256("\0".join(names).encode()).hexdigest()[:12]
    return Site(
        id=f"site_{sha256(f'{names[0]}{path}'.encode()).hexdigest()[:8]}",
        names=names,
        path=path,
        app=str(given["app"]),
        tls=tls,
        certificate={"off": "", "files": f"{names[0]}.pem", "acme": f"acme-{kept}.pem"}.get(
            tls, f"self-signed-{kept}.pem"
        ).replace("*", "_"),
        pair=pair,
        redirect=bool(truth(given.get("redirect", True))) and tls != "off",
        hsts=int(given.get("hsts", 0)),
        rules=list(given.get("rules", [])),
    )


def _collisions(sites: Sequence[Site]) -> list[str]:
    found: dict[tuple[str, str], list[Site]] = defaultdict(list)
    for site in sites:
        for name in site.names:
            found[name, site.path].append(site)
    return [
        f"load_balancer_sites has {name}{path or '/'} {len(those)} times, "
        f"for {' and '.join(site.app for site in those)}: give each site a name and a path of its own"
        for (name, path), those in found.items()
        if len(those) > 1
    ]


def _ambiguous(sites: Sequence[Site]) -> Iterator[str]:
    """Yield the names with two certificates, one of which is the authority's: visitors would get either."""
    for name in dict.fromkeys(name for site in sites if site.tls == "acme" for name in site.names):
        those = [site for site in sites if name in site.names and site.certificate]
        if len({site.certificate for site in those}) > 1:
            yield (
                f"load_balancer_sites has {name} with different certificates, for "
                f"{' and '.join(f'{site.app} ({site.tls})' for site in those)}: give these sites the same names and tls"
            )


def _differences(backends: Sequence[Backend]) -> list[str]:
    found = []
    for backend in backends:
        asked = {
            host: f"{one.health_host}{one.health_path} ({one.health_status or 'any'})"
            for host, one in backend.servers.items()
        }
        if len(set(asked.values())) > 1:
            where = ", ".join(f"{host}: {what}" for host, what in asked.items())
            found.append(
                f"the hosts of {backend.name} have different health requests ({where}): set flask_uwsgi_health_path, "
                "flask_uwsgi_health_status and flask_uwsgi_health_host to the same on all of them"
            )
    return found
