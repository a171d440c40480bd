"""Where an application answers on a host, for those who send requests to it."""

from __future__ import annotations

from dataclasses import dataclass

from ...module_utils.host import address as addresses
from ..plan.choice import choose
from ..settings.settings import Settings


@dataclass(frozen=True)
class Endpoint:
    """Where an application answers on a host.

    Args:
        app: its name.
        address: the address that it listens on, or if that is any, the host's, as the controller reaches it; or the
            path of a UNIX socket.
        port: its port; 0 for a path.
        mount: the path that it is below; empty for all paths.
        health_path: the path of a health request.
        health_status: the status that means healthy; 0 for any that is not an error.
        health_host: the host name of a health request.
        capacity: the requests that it serves at the same time.
        bind: the address, or the path, that it listens on.
    """

    app: str
    address: str
    port: int
    mount: str
    health_path: str
    health_status: int
    health_host: str
    capacity: int
    bind: str = ""


def endpoint(settings: Settings, address: str, listen: str = "") -> Endpoint:
    """Return the endpoint of an application.

    Args:
        settings: its settings on the host.
        address: the host's address or name.
        listen: the address and port that it listens on; empty for those of the settings.
    """
    found = addresses.read(listen or settings.listen)
    return Endpoint(
        app=settings.app_name,
        # In the form in which HAProxy repeats it.
        address=addresses.canonical(address) if found.bind in (addresses.ANY, addresses.DUAL) else found.bind,
        port=found.port,
        mount=settings.mount,
        health_path=settings.health,
        health_status=settings.accepted,
        health_host=settings.health_host,
        capacity=settings.processes * choose(settings, {}).cores,
        bind=found.bind,
    )
