"""The load generators: how each prints its version, how a report names it, and why one did not measure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Each is also the name of its module, and of the result that this returns.
NAMES = ("ab", "wrk", "h2load")
# wrk's version, without the distribution's part: "wrk debian/4.1.0-3+b2 [epoll] …".
_BANNERS = {
    "ab": re.compile(r"This is ApacheBench, Version ([^\s:]+)"),
    "wrk": re.compile(r"wrk\s+(?:debian/)?([^\s-]+)"),
    "h2load": re.compile(r"h2load nghttp2/(\S+)"),
}


@dataclass(frozen=True)
class LoadError:
    """The reason why a run did not measure what it should.

    Attributes:
        kind: a short name for programs: ``refused``, ``reset``, ``timeout``, ``open_files``, ``usage`` …
        message: what happened, one line.
        remedy: what to do about it; empty if there is no general remedy.
    """

    kind: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return message and remedy as one line for people."""
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


def version(name: str, printed: str) -> str | None:
    """Return the version that a generator prints of itself, such as ``2.3``; None if there is none.

    Args:
        name: one of :data:`NAMES`.
        printed: what it printed, from the line with the version on.
    """
    found = _BANNERS[name].match(printed)
    return found[1] if found else None


def title(name: str, number: str | None) -> str:
    """Return a generator as reports name it, such as ``ab 2.3``; without a version, its name."""
    return f"{name} {number}" if number else name


def returned(registered: Mapping[str, Any]) -> Any:
    """Return the result that a generator's module left in a registered task; None if there is none."""
    return next((registered[name] for name in NAMES if registered.get(name)), None)
