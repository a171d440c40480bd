"""Shows the result of a swap."""

from __future__ import annotations

from collections.abc import Mapping


def seconds(*swaps: Mapping[str, float]) -> str:
    """Return how long the steps of swaps took, in brackets; empty if there were none.

    Args:
        swaps: for each host the seconds of its steps, by name.
    """
    taken: dict[str, list[float]] = {}
    for step, spent in (item for steps in swaps for item in steps.items()):
        taken.setdefault(step, []).append(spent)
    text = ", ".join(f"{step.replace('_', ' ')} {_range(spent)} s" for step, spent in taken.items())
    return f" [{text}]" if text else ""


def _range(values: list[float]) -> str:
    return " to ".join(dict.fromkeys(f"{value:.1f}" for value in (min(values), max(values))))
