"""Names hosts in a line of text, however many they are."""

from __future__ import annotations

from collections.abc import Sequence

# The number of hosts that are shown by name.
MOST = 8


def named(hosts: Sequence[str], most: int = MOST) -> str:
    """Return the names of hosts, of many the first ones and how many more.

    Args:
        hosts: their names.
        most: how many to name.
    """
    more = len(hosts) - most
    return ", ".join(hosts[:most]) + (f" and {more:,} more" if more > 0 else "")
