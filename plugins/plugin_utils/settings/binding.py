"""Whether an application can listen where ``flask_uwsgi_bind`` and ``flask_uwsgi_port`` say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ...module_utils.host import address, names


def value_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the address by its value alone.

    Args:
        s: the role's variables without their prefix, as they were given.
    """
    bind = str(s["bind"])
    if problem := address.problem(bind):
        yield f"flask_uwsgi_bind={bind} {problem}"
        return
    for own in (f"{s['base_dir']}/{s['app_name']}", f"/run/{s['app_name']}"):
        if bind.startswith(f"{own}/"):
            yield (
                f"flask_uwsgi_bind={bind} is in {own}, where deploys remove what they did not put there: set it to a "
                f"path such as /run/{s['app_name']}.sock"
            )


def host_problems(s: Mapping[str, Any], host: Mapping[str, Any], app: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the application cannot listen there on a host.

    Args:
        s: the role's variables without their prefix.
        host: ``host`` of the module ``host_state``.
        app: ``app`` of the same module.
    """
    wanted = address.of(str(s["bind"]), int(s["port"]))
    yield from _path_problems(s, wanted, app["socket"]) if wanted.path else _address_problems(s, wanted, host)
    name, value, other = ("bind", wanted.path, "path") if wanted.path else ("port", s["port"], "port")
    for neighbour, listen in app["neighbours"].items():
        if wanted.collides(address.read(listen)):
            yield (
                f"flask_uwsgi_{name}={value} belongs to the application {neighbour} of this host (listens on {listen}"
                f"): choose another {other}"
            )
            return
    for holder in app["strangers"]:
        yield (
            f"flask_uwsgi_{name}={value} is taken by {holder['name']} (pid {holder['pid']}): "
            f"stop that program or choose another {other}"
        )
    if not app["strangers"] and (found := app["socket"].get("holder")):
        yield (
            f"flask_uwsgi_bind={value} is {found}, which does not belong to the application: move it away, or choose "
            "another path"
        )


def _address_problems(s: Mapping[str, Any], wanted: address.Address, host: Mapping[str, Any]) -> Iterator[str]:
    if ":" in wanted.bind and not host["ipv6"]:
        yield (
            f"flask_uwsgi_bind={s['bind']} needs IPv6, which the kernel of this host does not have: set it to 0.0.0.0"
        )
    elif wanted.bind not in (address.ANY, address.DUAL, *host["addresses"]) and not wanted.bind.startswith("127."):
        known = ", ".join(host["addresses"])
        yield (f"flask_uwsgi_bind={s['bind']} is no address of this host: set it to 0.0.0.0, [::], or one of {known}")


def _path_problems(s: Mapping[str, Any], wanted: address.Address, place: Mapping[str, Any]) -> Iterator[str]:
    # Of a host without systemd, which is a problem of its own.
    if not place:
        return
    folder = PurePosixPath(wanted.path).parent
    for fault in names.replaceable(place["above"]):
        yield (
            f"flask_uwsgi_bind={wanted.path} is not safe, for others could take its place: {fault}. Set it to a path "
            f"of directories that root owns and nobody else can write to, such as /run/{s['app_name']}.sock"
        )
    if not place["there"]:
        yield (
            f"flask_uwsgi_bind={wanted.path} is in {folder}, which does not exist on this host: create it, owned by "
            f"root, or set it to a path such as /run/{s['app_name']}.sock"
        )
    group = s["socket_group"]
    if group and group != s["group"] and not place["group"]:
        yield (
            f"flask_uwsgi_socket_group={group} does not exist on this host: install the proxy first, or name the group "
            "that it runs with"
        )
