"""Shows the result of a swap."""

from __future__ import annotations

from collections.abc import Mapping


def seconds(steps: Mapping[str, float]) -> str:
    """Return how long the steps of a swap took, in brackets; empty if there were none."""
    text = ", ".join(f"{step.replace('_', ' ')} {taken:.1f} s" for step, taken in steps.items())
    return f" [{text}]" if text else ""
