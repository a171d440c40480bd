"""The load generators: how each prints its version, and how a report names it."""

from __future__ import annotations

import re

# wrk's version, without the distribution's part: "wrk debian/4.1.0-3+b2 [epoll] …".
_BANNERS = {
    "ab": re.compile(r"This is ApacheBench, Version ([^\s:]+)"),
    "wrk": re.compile(r"wrk\s+(?:debian/)?([^\s-]+)"),
}


def version(name: str, printed: str) -> str | None:
    """Return the version that a generator prints of itself, such as ``2.3``; None if there is none.

    Args:
        name: ``ab`` or ``wrk``.
        printed: what it printed, from the line with the version on.
    """
    found = _BANNERS[name].match(printed)
    return found[1] if found else None


def title(name: str, number: str | None) -> str:
    """Return a generator as reports name it, such as ``ab 2.3``; without a version, its name."""
    return f"{name} {number}" if number else name
