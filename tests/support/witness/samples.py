"""The result of each request: how the witness writes it, and how another process reads it meanwhile.

A file of samples has one JSON value per line. A list is a request, with the fields of :class:`Sample`. A number is a
time: every request that began before it is above. All times are seconds of CLOCK_MONOTONIC, which is
one clock for all processes of a machine.
"""

from __future__ import annotations

import json
import math
from typing import BinaryIO, NamedTuple


class Sample(NamedTuple):
    """One request and its result.

    Attributes:
        begun: when the client began to connect.
        ended: when the whole answer had arrived, or when the request failed.
        served_by: who answered, as ``GENERATION (mode)``; None if it failed.
        failure: the kind of failure, None if it was answered.
        text: the error message; of an order that was confirmed, its number.
    """

    begun: float
    ended: float
    served_by: str | None
    failure: str | None = None
    text: str = ""


class Writer:
    """Appends samples to a file, in batches: a write for each would distort the measurement."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._batch: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Keep a sample for the next batch."""
        self._batch.append(sample)

    def flush(self, complete_before: float) -> None:
        """Write the batch, and a time before which every request is recorded."""
        lines = [json.dumps((round(s.begun, 6), round(s.ended, 6), *s[2:])) for s in self._batch]
        self._batch.clear()
        # Rounded down: a request that began within the last microsecond may still be missing.
        lines.append(str(math.floor(complete_before * 1e6) / 1e6))
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()


class Reader:
    """Reads a file of samples, also while it grows.

    Attributes:
        samples: those read so far, in the order in which the requests ended.
        complete_before: every request that began before this time is in ``samples``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.samples: list[Sample] = []
        self.complete_before = -math.inf
        self._file = file
        self._rest = b""

    def read(self) -> None:
        """Read what was written since the last call."""
        # The last line may be incomplete.
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            value = json.loads(line)
            if isinstance(value, list):
                self.samples.append(Sample(*value))
            else:
                self.complete_before = value
