"""The witness as a separate process: its start, the windows that a test marks, its end.

The load does not share an interpreter with the test, which may be busy. They share a file and a clock: the process
appends its samples to the file, and both read CLOCK_MONOTONIC, so a window is just two times.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from tests.support import ROOT
from tests.support.witness.report import Report, judge
from tests.support.witness.samples import Reader, Sample

# How often the file of samples is polled while a test waits for it.
POLL_S = 0.05
# The time for starting, writing and ending in addition to the requests, on a busy machine.
SLACK_S = 15.0


class WitnessError(Exception):
    """The witness has no valid result; the message says why."""


class Window:
    """A period in which something happens. Created by :meth:`Witness.window`.

    Attributes:
        name: what happens in it.
        start: when it began, in seconds of CLOCK_MONOTONIC.
        end: when it ended; None before that.
        steady_s: the seconds before it that are the baseline.
        after_s: the seconds after it that belong to the event, too.
    """

    def __init__(self, witness: Witness, name: str, steady_s: float, after_s: float) -> None:
        self.name = name
        self.start = time.monotonic()
        self.end: float | None = None
        self.steady_s = steady_s
        self.after_s = after_s
        self._witness = witness

    def report(self) -> Report:
        """Return what the clients saw; waits for requests still in flight, at most for their timeout.

        Raises:
            WitnessError: the window has not ended, or the witness failed.
        """
        if self.end is None:
            raise WitnessError(f"The window {self.name!r} has not ended: ask for its report behind its block")
        samples = self._witness.samples_before(self.end + self.after_s)
        return judge(samples, self.name, self._witness.clients, self.start, self.end, self.steady_s, self.after_s)


class Witness:
    """Clients that keep sending requests to a host while the ``with`` block runs.

    ::

        with Witness(url) as witness:
            with witness.window("rollback") as window:
                roll_back()
            assert not window.report().failures

    Args:
        url: the host, ``http://HOST:PORT``.
        clients: how many clients send one request after the other.
        timeout_s: the seconds after which a request has failed.
        path: the path on the host; by default the article's.
        method: the HTTP method; by default the article's.
        body: the body, JSON; by default the article's for POST, and none otherwise.
        output: the file for all samples; by default they are deleted with the witness.
        start_s: the seconds of load within which the first answer must arrive.
        shop: the name of a site of the load balancer at the URL: the clients are its visitors, who place orders.
    """

    def __init__(
        self,
        url: str,
        clients: int = 200,
        timeout_s: float = 30.0,
        path: str | None = None,
        method: str | None = None,
        body: str | None = None,
        output: Path | None = None,
        start_s: float = 15.0,
        shop: str | None = None,
    ) -> None:
        self.url = url
        self.clients = clients
        self._timeout_s = timeout_s
        self._start_s = start_s
        self._output = output
        request = {"path": path, "method": method, "body": body, "shop": shop}
        options = {"clients": clients, "timeout": timeout_s, **request}
        self._options = [f"--{name}={value}" for name, value in options.items() if value is not None]
        self._windows: dict[str, Window] = {}
        self._disturbed_until = 0.0
        self._ended = False
        # Why it failed: its samples until then prove nothing.
        self._fault: str | None = None

    def __enter__(self) -> Witness:
        """Start the process, and wait for the first answer.

        Raises:
            WitnessError: no answer came in time, or the process could not start; the message names the cause.
        """
        with contextlib.ExitStack() as resources:
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="witness-")))
            output = self._output.absolute() if self._output else folder / "samples"
            # Created before the process opens it, so that no line of an older run is read.
            output.write_bytes(b"")
            self._reader = Reader(resources.enter_context(output.open("rb")))
            self._log = folder / "log"
            # It ends when its standard input does, so no load outlives the test.
            command = [sys.executable, "-m", "tests.support.witness", self.url, *self._options]
            command += ["--until-eof", f"--output={output}"]
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
                )
            resources.enter_context(self._process)
            resources.callback(self._process.kill)
            self._await_answer()
            self._resources = resources.pop_all()
        self._disturbed_until = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sending, wait until the requests in flight have ended, and end the process.

        Raises:
            WitnessError: the process failed or did not end; not raised over an error of the block.
        """
        with self._resources:
            try:
                self._process.communicate(timeout=self._timeout_s + SLACK_S)
            except subprocess.TimeoutExpired:
                self._fault = "The witness did not end"
            else:
                # 1 reports failed requests, which the reports judge.
                self._fault = None if self._process.returncode in (0, 1) else self._said()
            self._reader.read()
            self._ended = True
        if self._fault and error is None:
            raise WitnessError(self._fault)

    @contextlib.contextmanager
    def window(self, name: str, steady: float = 2.0, after: float = 1.0) -> Iterator[Window]:
        """Mark what happens in a ``with`` block. If the block fails, its window has no report.

        Args:
            name: what happens; unique for each window of a witness.
            steady: the seconds of undisturbed load before it that are the baseline. Waits for what is missing of them
                since the first answer or the last window.
            after: the seconds of load after it; leaving the block takes as long.

        Raises:
            ValueError: there is a window of this name.
            WitnessError: the witness has ended.
        """
        if name in self._windows:
            raise ValueError(f"there is a window named {name!r} already")
        time.sleep(max(self._disturbed_until + steady - time.monotonic(), 0.0))
        self._check_running()
        window = Window(self, name, steady, after)
        try:
            yield window
            window.end = time.monotonic()
            self._windows[name] = window
            time.sleep(after)
        finally:
            self._disturbed_until = time.monotonic()

    def reports(self) -> dict[str, Report]:
        """Return the reports of all windows by name; also after the end of the witness.

        Raises:
            WitnessError: the witness failed.
        """
        return {name: window.report() for name, window in self._windows.items()}

    def samples_before(self, before: float) -> Sequence[Sample]:
        """Return the samples, once every request that began before a time (seconds of CLOCK_MONOTONIC) is recorded.

        Raises:
            WitnessError: the witness failed.
        """
        deadline = max(before, time.monotonic()) + self._timeout_s + SLACK_S
        while not self._ended:
            self._reader.read()
            if self._reader.complete_before >= before:
                break
            self._check_running()
            if time.monotonic() > deadline:
                raise WitnessError(f"Requests to {self.url} are under way for longer than their timeout")
            time.sleep(POLL_S)
        if self._fault:
            raise WitnessError(self._fault)
        return self._reader.samples

    def _await_answer(self) -> None:
        deadline = time.monotonic() + SLACK_S + self._start_s
        while True:
            self._reader.read()
            # The host's time starts when the process, which may start slowly, has written its first line.
            if self._reader.complete_before > 0:
                deadline = min(deadline, time.monotonic() + self._start_s)
            if any(sample.served_by is not None for sample in self._reader.samples):
                return
            self._check_running()
            if time.monotonic() > deadline:
                texts = Counter(f"{sample.failure}: {sample.text}" for sample in self._reader.samples)
                seen = "; ".join(f"{text} ({count} times)" for text, count in texts.most_common(3))
                raise WitnessError(
                    f"No request to {self.url} was answered in {self._start_s:g} s: {seen or 'none of them ended'}"
                )
            time.sleep(POLL_S)

    def _check_running(self) -> None:
        if self._process.poll() is not None:
            raise WitnessError(self._said())

    def _said(self) -> str:
        said = self._log.read_text(errors="replace").strip()
        return said or f"The witness ended too early, with status {self._process.returncode}"
