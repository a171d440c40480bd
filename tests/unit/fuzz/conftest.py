"""Random input: the same each time, in a fixed amount, within a time limit."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "bounded",
    # The same input in every run, so that a failure is always due to the code.
    derandomize=True,
    database=None,
    max_examples=60,
    # The test as a whole has a limit (`within`); a single example sometimes waits for other processes.
    deadline=None,
    # Searching for the smallest example takes minutes if a single one is slow.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
settings.load_profile("bounded")


def _give_up(number: int, frame: FrameType | None) -> None:
    raise AssertionError("it takes longer than it may")


@pytest.fixture
def within() -> Callable[[float], object]:
    """Return a context manager that asserts that its block takes at most so many seconds of CPU."""

    @contextmanager
    def bound(seconds: float) -> Iterator[None]:
        # Of this process alone: other work on the machine does not count.
        before = signal.signal(signal.SIGPROF, _give_up)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    return bound
