"""Runs both clients against the same URL, in turns, each run in its own process: `python -m clients.compare URL`."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients import common

CLIENTS = ("gevent", "asyncio")
# The figures to summarise, in the order of the table: name, label, digits.
FIGURES = (
    ("duration_s", "time (s)", 3),
    ("requests_per_second", "answers a second", 0),
    ("p50_ms", "p50 (ms)", 0),
    ("p99_ms", "p99 (ms)", 0),
    ("max_ms", "longest (ms)", 0),
    ("cpu_s", "CPU (s)", 3),
    ("peak_memory_mb", "peak memory (MB)", 1),
)
# Two values do not show how far apart a third one may be.
LEAST_ROUNDS = 3
# To start Python and import the libraries, on a busy machine.
START_S = 60.0
APP = Path(__file__).resolve().parents[1]


class ClientError(Exception):
    """A client returned no result, or none that can be compared; the message says why."""


@dataclass(frozen=True)
class Summary:
    """The summary of one client's rounds.

    Attributes:
        requests: number of requests in all rounds.
        failed: number of failed requests.
        figures: the median, minimum and maximum of each figure; None if no round has one.
        lines: the client's lines of code.
        libraries: its libraries with versions.
    """

    requests: int
    failed: int
    figures: dict[str, dict[str, float] | None]
    lines: int
    libraries: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            **self.figures,
            "lines": self.lines,
            "libraries": self.libraries,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the clients; return 0 if every request of every round was answered, otherwise 1."""
    parser = common.make_parser(
        "python -m clients.compare",
        "Run both clients in turns, each run in its own process, and compare them. The status is 0 if every request "
        "was answered with 200, 1 if not, 2 if it was called wrongly.",
    )
    parser.add_argument("--rounds", type=common.count, default=5, help="runs of each client (default: 5)")
    parser.add_argument("--output", type=Path, help="the directory to write clients.json to")
    parsed = parser.parse_args(arguments)
    options = common.read(parser, parsed)
    if parsed.output and (problem := make_folder(parsed.output)):
        # Reported now, and not after all measurements.
        parser.error(f"cannot write to {parsed.output}: {problem}")
    document: dict[str, Any] = {
        "format": 1,
        "started_at": common.now(),
        "url": options.url,
        "machine": machine(),
        "settings": {
            "rounds": parsed.rounds,
            "requests": options.requests,
            "concurrency": options.concurrency,
            "timeout_s": options.timeout_s,
        },
    }
    results: list[dict[str, Any]] = []
    error = None
    try:
        run_rounds(options, parsed.rounds, results)
    except ClientError as caught:
        error = str(caught)
    except KeyboardInterrupt:
        error = "stopped by Ctrl-C"
    summary = summarize(results)
    sentence = verdict(summary, len(results) // len(CLIENTS)) if error is None else f"No verdict: {error}."
    document |= {
        "error": error,
        "rounds": results,
        "summary": {client: of_client.as_dict() for client, of_client in summary.items()},
        "verdict": sentence,
    }
    if summary and error is None:
        print(table(summary))
    print(sentence, file=sys.stderr if error else sys.stdout)
    if parsed.output:
        (parsed.output / "clients.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if error or any(of_client.failed for of_client in summary.values()) else 0


def run_rounds(options: common.Options, rounds: int, results: list[dict[str, Any]]) -> None:
    """Run each client once without counting it, then the rounds, and append what each run measured.

    Raises:
        ClientError: a client returned no result, or none of its requests was answered. More rounds would not help.
    """
    for number in range(rounds + 1):
        name = f"round {number} of {rounds}" if number else "warm-up"
        # The second client finds a server that has just been busy, so they take turns.
        for client in CLIENTS if number % 2 else reversed(CLIENTS):
            print(f"{name}: {client} ... ", end="", file=sys.stderr, flush=True)
            try:
                measured = run_client(client, options)
            except ClientError as error:
                print("failed", file=sys.stderr)
                raise ClientError(f"{client} ({name}) {error}") from None
            failed = f", {common.describe_failures(measured)}" if measured["failed"] else ""
            print(f"{measured['duration_s']:.2f} s{failed}", file=sys.stderr)
            if number:
                results.append({"round": number, **measured})
            if not measured["ok"]:
                raise ClientError(f"{client} ({name}) had no answer: {common.describe_failures(measured)}")


def run_client(client: str, options: common.Options) -> dict[str, Any]:
    """Run a client as a process and return its result.

    Raises:
        ClientError: it has no result.
    """
    turns = -(-options.requests // options.concurrency)
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"clients.{client}_client", *options.arguments()],
            # The first folder that `-m` searches: the caller's folder may have other clients.
            cwd=APP,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=turns * options.timeout_s + START_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientError(f"did not end within {error.timeout:g} s") from None
    try:
        if done.returncode not in (0, 1):
            raise ValueError
        measured: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        # The last line of a traceback names the error.
        said = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise ClientError(f"ended with status {done.returncode} and without a result: {said[0]}") from None
    return measured


def summarize(results: Sequence[dict[str, Any]]) -> dict[str, Summary]:
    """Summarize the rounds of each client that has any."""
    summary = {}
    for client in CLIENTS:
        rounds = [result for result in results if result["client"] == client]
        if rounds:
            summary[client] = Summary(
                requests=sum(result["requests"] for result in rounds),
                failed=sum(result["failed"] for result in rounds),
                figures={name: _range([result[name] for result in rounds]) for name, _, _ in FIGURES},
                lines=rounds[-1]["lines"],
                libraries=rounds[-1]["libraries"],
            )
    return summary


def verdict(summary: dict[str, Summary], rounds: int) -> str:
    """Return a sentence that says which client did better, or why that cannot be decided."""
    failed = [f"{client} {of.failed:,} of {of.requests:,}" for client, of in summary.items() if of.failed]
    if failed:
        return f"No verdict: requests failed ({', '.join(failed)}), so the clients did not do the same work."
    if rounds < LEAST_ROUNDS:
        return f"No verdict: at least {LEAST_ROUNDS} rounds are needed to see how far they differ, not {rounds}."
    winner, medians, difference, spread = _judge(summary, "duration_s", 3)
    if winner:
        time = f"{winner} is faster: the medians, {medians} s, differ by {difference} s, rounds by up to {spread} s"
    else:
        time = (
            f"Indistinguishable in time: the medians, {medians} s, differ by {difference} s, and rounds of the same "
            f"client by up to {spread} s"
        )
    parts = [time]
    for name, what, unit, digits in (("cpu_s", "CPU", "s", 3), ("peak_memory_mb", "memory", "MB", 1)):
        winner, medians, _, _ = _judge(summary, name, digits)
        parts.append(
            f"{winner} used less {what} ({medians} {unit})" if winner else f"no difference in {what} ({medians} {unit})"
        )
    return "; ".join(parts) + "."


def table(summary: dict[str, Summary]) -> str:
    """Return the summary for people: the median, minimum and maximum of each figure."""
    rows = [("median (least–most)", *summary)]
    for name, label, digits in FIGURES:
        rows.append((label, *(_cell(of_client.figures[name], digits) for of_client in summary.values())))
    rows.append(("lines of code", *(str(of_client.lines) for of_client in summary.values())))
    rows.append(("failed", *(f"{of_client.failed:,} of {of_client.requests:,}" for of_client in summary.values())))
    versions = (", ".join(" ".join(pair) for pair in of_client.libraries.items()) for of_client in summary.values())
    rows.append(("made of", *versions))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def machine() -> dict[str, Any]:
    """Return what the figures depend on, besides the server."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        # The cores that this process may use, if the system reports it.
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def make_folder(folder: Path) -> str | None:
    """Create a folder if it is missing, and return what prevents writing to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror
    return None if os.access(folder, os.W_OK | os.X_OK) else "no permission"


def _judge(summary: dict[str, Summary], name: str, digits: int) -> tuple[str | None, str, str, str]:
    """Return the client that needs less of a figure (None if by chance), the medians, their difference, the spread."""
    ranges = {client: figure for client, of_client in summary.items() if (figure := of_client.figures[name])}
    medians = {client: figure["median"] for client, figure in ranges.items()}
    difference = max(medians.values()) - min(medians.values())
    spread = max(figure["max"] - figure["min"] for figure in ranges.values())
    winner = min(medians, key=medians.__getitem__) if difference > spread else None
    compared = " and ".join(f"{client} {median:.{digits}f}" for client, median in medians.items())
    return winner, compared, f"{difference:.{digits}f}", f"{spread:.{digits}f}"


def _range(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    # Rounded, without the noise of binary fractions.
    return {"median": round(statistics.median(known), 4), "min": min(known), "max": max(known)}


def _cell(figure: dict[str, float] | None, digits: int) -> str:
    if figure is None:
        return "none"
    return "{median:,.{digits}f} ({min:,.{digits}f}–{max:,.{digits}f})".format(**figure, digits=digits)


if __name__ == "__main__":
    sys.exit(main())
