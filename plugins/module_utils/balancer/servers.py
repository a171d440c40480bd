"""The states of HAProxy's servers: which hosts get requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..host import files
from . import addresses
from .runtime import Runtime, RuntimeAPIError, Server

_POLL_S = 0.2
# The version of the format.
_STATES = "1\n"


class ServersError(Exception):
    """The states cannot be changed; the message is for the operator."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of some servers.

    Args:
        names: the servers, each in all its backends.
        state: ``ready``, ``drain`` or ``maint``; empty to leave it.
        weight: the weight of 0 to 256; None to leave it.
        wait_s: how long they may take to be idle, or to be up; 0 not to wait.
        min_ready: the servers of each backend that must go on serving.
        cut: whether requests that have not ended by then are cut.
        places: where servers are from now on, by name.
    """

    names: Sequence[str]
    state: str
    weight: int | None
    wait_s: float
    min_ready: int
    cut: bool = False
    places: Mapping[str, addresses.Place] = field(default_factory=dict)


def chosen(servers: Sequence[Server], wish: Wish) -> list[Server]:
    """Return the servers that a wish names, if it can be granted.

    Args:
        servers: all servers.
        wish: what is wanted.

    Raises:
        ServersError: a server is unknown, or too few would go on serving.
    """
    known = {one.name for one in servers}
    if unknown := [name for name in wish.names if name not in known]:
        raise ServersError(
            f"no site sends requests to {', '.join(unknown)}, only to {', '.join(sorted(known)) or 'nobody'}: run "
            "playbooks/load_balancer.yml after a change of the inventory"
        )
    found = [one for one in servers if one.name in wish.names]
    if wish.state in ("drain", "maint"):
        for backend in dict.fromkeys(one.backend for one in found if one.up):
            those = [one for one in servers if one.backend == backend]
            left = [one.name for one in those if one.up and one.name not in wish.names]
            if len(left) < wish.min_ready:
                away = ", ".join(one.name for one in those if one.up and one.name in wish.names)
                raise ServersError(
                    f"without {away}, {len(left)} of the {len(those)} servers of {backend} would go on serving, and "
                    f"load_balancer_min_ready={wish.min_ready}: bring the others back first (playbooks/undrain.yml), "
                    "take fewer hosts at a time (--limit), or lower load_balancer_min_ready"
                )
    return found


def different(servers: Sequence[Server], wish: Wish) -> list[Server]:
    """Return the servers whose state, weight or place is not as wanted."""
    return [
        one
        for one in servers
        if (wish.state and one.admin != wish.state) or wish.weight not in (None, one.weight) or _moves(one, wish)
    ]


def with_others(servers: Sequence[Server], names: Collection[str]) -> list[str]:
    """Return which of these servers have others beside them, in all their backends."""
    sizes = Counter(one.backend for one in servers)
    alone = {one.name for one in servers if sizes[one.backend] == 1}
    return [name for name in names if name not in alone]


def _moves(server: Server, wish: Wish) -> bool:
    place = wish.places.get(server.name)
    return place is not None and server.address != place.from_here(server.address).listen


@contextmanager
def restored(runtime: Runtime, servers: Sequence[Server]) -> Iterator[None]:
    """Give servers their states and weights back if the block fails."""
    try:
        yield
    except BaseException:
        for one in servers:
            runtime.ask(f"set server {one.id} state {one.admin}")
            runtime.ask(f"set weight {one.id} {one.weight}")
        raise


def change(runtime: Runtime, servers: Sequence[Server], wish: Wish) -> None:
    """Change the states, weights and places of servers.

    Args:
        runtime: HAProxy.
        servers: the servers that differ from what is wanted.
        wish: what is wanted.

    Raises:
        RuntimeAPIError: HAProxy refuses it.
    """
    for one in servers:
        if _moves(one, wish):
            _move(runtime, one, wish.places[one.name].from_here(one.address))
        if wish.state == "ready" and one.admin != "ready":
            # What HAProxy knows of its health may be older than the host's restart: it has to pass the checks anew.
            runtime.command(f"set server {one.id} health down")
        if wish.state:
            runtime.command(f"set server {one.id} state {wish.state}")
        if wish.weight is not None:
            runtime.command(f"set weight {one.id} {wish.weight}")


def _move(runtime: Runtime, server: Server, place: addresses.Place) -> None:
    command = f"set server {server.id} addr {place.address} port {place.port}"
    answer = runtime.ask(command).strip()
    # It answers in words, which differ between versions, also where it obeys.
    if not any(one.id == server.id and one.address == place.listen for one in runtime.servers()):
        raise RuntimeAPIError(f"HAProxy answers {command!r} with: {answer}")
    runtime.command(f"set maxconn server {server.id} {place.capacity}")


def wait_until_idle(runtime: Runtime, names: Collection[str], wish: Wish) -> None:
    """Wait until no process of HAProxy has a request of these servers.

    Args:
        runtime: HAProxy.
        names: the servers.
        wish: how long, and whether requests are cut then.

    Raises:
        ServersError: they were not idle in time.
        RuntimeAPIError: HAProxy does not answer.
    """
    until = time.monotonic() + wish.wait_s
    while wish.wait_s and (busy := _busy(runtime, names)):
        if time.monotonic() < until:
            time.sleep(_POLL_S)
        elif wish.cut:
            for name in busy:
                runtime.cut(name)
            return
        else:
            raise ServersError(
                f"{', '.join(f'{name} has {count} requests' for name, count in busy.items())} after "
                f"load_balancer_drain_timeout={wish.wait_s:g} seconds: raise it, or cut such requests with "
                "-e load_balancer_drain_cut=true"
            )


def _busy(runtime: Runtime, names: Collection[str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in runtime.servers():
        if one.name in names:
            found[one.id] += one.sessions + one.queued
    for identity, count in runtime.sessions_of_leaving().items():
        if identity.partition("/")[2] in names:
            found[identity] += count
    return {identity: count for identity, count in found.items() if count}


def wait_until_up(runtime: Runtime, names: Collection[str], wish: Wish) -> None:
    """Wait until these servers get requests.

    Args:
        runtime: HAProxy.
        names: the servers.
        wish: how long.

    Raises:
        ServersError: one was not up in time.
        RuntimeAPIError: HAProxy does not answer.
    """
    until = time.monotonic() + wish.wait_s
    while wish.wait_s and (down := [one for one in runtime.servers() if one.name in names and not one.up]):
        if time.monotonic() > until:
            shown = ", ".join(f"{one.id} ({one.address}) is {one.status}, its last check {one.check}" for one in down)
            raise ServersError(
                f"{shown} after load_balancer_up_timeout={wish.wait_s:g} seconds: see the application's log with "
                "playbooks/logs.yml, and run playbooks/undrain.yml when it is healthy"
            )
        time.sleep(_POLL_S)


def keep(runtime: Runtime, file: Path, configuration: Path) -> None:
    """Write the states of the servers to the file from which the next process reads them.

    Args:
        runtime: HAProxy.
        file: the file.
        configuration: the configuration that it reads.

    Raises:
        RuntimeAPIError: HAProxy does not answer as expected.
        OSError: the file cannot be written.
    """
    answer = runtime.ask("show servers state")
    if not answer.startswith(_STATES):
        raise RuntimeAPIError(f"HAProxy answers {answer[:200]!r} to `show servers state`")
    files.write(file, addresses.settled(answer, configuration.read_text()))


def settle(file: Path, configuration: Path) -> None:
    """Correct the ports in the states, before a process reads them beside a configuration that has changed.

    Args:
        file: the states; it need not exist.
        configuration: the configuration.

    Raises:
        OSError: a file cannot be read, or not be written.
    """
    if file.exists():
        files.put(file, addresses.settled(file.read_text(), configuration.read_text()))
