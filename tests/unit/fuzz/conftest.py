"""Input that nobody thought of: the same each time, so much and no more, within a bound."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "bounded",
    # The same input in every run: a failure is the code's, never the day's.
    derandomize=True,
    database=None,
    max_examples=60,
    # Of the whole test there is one (`within`); a single example waits for other processes now and then.
    deadline=None,
    # Looking for the smallest example takes minutes where a single one is slow.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
settings.load_profile("bounded")


def _give_up(number: int, frame: FrameType | None) -> None:
    raise AssertionError("it takes longer than it may")


@pytest.fixture
def within() -> Callable[[float], object]:
    """Return what holds that a ``with`` block ends within so many seconds of the processor's time."""

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
