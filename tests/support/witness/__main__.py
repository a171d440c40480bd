"""The witness's command line: ``python -m tests.support.witness http://127.0.0.1:8040``, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from yarl import URL

from tests.support.witness.clients import Load, Request
from tests.support.witness.report import Report, judge_all
from tests.support.witness.samples import Reader, Writer
from tests.support.witness.visitors import Shop, Visits

ARTICLE = Path(__file__).parents[3] / "app" / "data.txt"
LOGIN = "/user_manage/user/login"
# The maximum delay for readers of the samples.
FLUSH_S = 0.2
# The time within which the host must accept the first connection.
REACH_S = 5.0


def main() -> int:
    """Run the load; return 0 if all requests were answered, 1 otherwise."""
    options = parse(sys.argv[1:])
    # Each client is an open file.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url: URL = options.url
    with options.output or tempfile.TemporaryFile() as file:
        try:
            asyncio.run(reach(url))
        except OSError as error:
            print(f"Cannot reach {url}: {str(error) or f'no connection in {REACH_S:g} s'}", file=sys.stderr)
            return 1
        cpu_s = asyncio.run(run(options, file))
        file.seek(0)
        reader = Reader(file)
        reader.read()
    if not reader.samples:
        print("Stopped before a request was sent.", file=sys.stderr)
        return 1
    report = judge_all(reader.samples, f"{options.method} {url}", options.clients)
    print(table(report, cpu_s))
    return 1 if report.failures else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; missing arguments become the article's request."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.witness",
        description="Keep clients sending requests, one after the other, until Ctrl-C, and report what they saw. "
        "The status is 0 if every request was answered with success, 1 if not, 2 if it was called wrongly.",
    )
    parser.add_argument("url", type=_host, help="the host: http://HOST:PORT")
    parser.add_argument("--clients", type=_count, default=200, help="how many (default: 200)")
    parser.add_argument("--seconds", type=_seconds, help="end after this time, and not only at Ctrl-C")
    parser.add_argument("--output", type=_file, help="the file to keep all samples in (see samples.py)")
    parser.add_argument("--timeout", type=_seconds, default=30.0, help="seconds for a request (default: 30)")
    parser.add_argument("--path", default=LOGIN, help=f"default: {LOGIN}")
    parser.add_argument("--method", type=str.upper, default="POST", help="default: POST")
    parser.add_argument("--body", help="JSON (default: of POST app/data.txt, otherwise none)")
    parser.add_argument(
        "--shop",
        metavar="NAME",
        help="be the visitors of this site of the load balancer at the URL, half of them over HTTP/2, who keep their "
        "connections: they open --path (default: /), then POST an order with a number of its own to /orders/NUMBER",
    )
    parser.add_argument("--until-eof", action="store_true", help="end as well when standard input ends")
    options = parser.parse_args(arguments)
    if options.shop and options.path == LOGIN:
        options.path = "/"
    options.url = options.url.join(URL(options.path))
    if options.body is None:
        options.body = ARTICLE.read_text(encoding="utf-8") if options.method == "POST" else ""
    return options


async def reach(url: URL) -> None:
    """Connect once; raise OSError if the host does not accept."""
    async with asyncio.timeout(REACH_S):
        _, writer = await asyncio.open_connection(url.host, url.port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def run(options: argparse.Namespace, file: BinaryIO) -> float:
    """Run the load until a signal or the end of the duration, write the samples, and return the CPU seconds."""
    writer = Writer(file)
    load: Load | Visits
    if options.shop:
        url: URL = options.url
        shop = Shop(options.shop, url.host or "", url.port or 443, url.path_qs, options.timeout)
        load = Visits(shop, options.clients, writer.add)
    else:
        request = Request(options.url, options.method, options.body.encode(), options.timeout)
        load = Load(request, options.clients, writer.add)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, load.stop)
    if options.seconds:
        loop.call_later(options.seconds, load.stop)
    if options.until_eof:

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin)
                load.stop()

        loop.add_reader(sys.stdin, read)
    # Imported objects need no repeated garbage collection, which would stop the clients for 30 ms each time.
    gc.freeze()
    started = time.process_time()
    running = asyncio.create_task(load.run())
    while not running.done():
        await asyncio.wait([running], timeout=FLUSH_S)
        writer.flush(load.complete_before())
    await running
    return time.process_time() - started


def table(report: Report, cpu_s: float) -> str:
    """Return a report for people, with the cost of the witness itself."""
    requests, during = report.requests, report.during
    rows = [
        *((who, f"{count:,}", "answered") for who, count in report.answered.items()),
        *((kind, f"{count:,}", "failed") for kind, count in report.failures.items()),
        ("answers", f"{during.requests_per_second:,.0f}", "a second"),
        *(
            (name, "none" if value is None else f"{value:,.0f}", "ms")
            for name, value in (("p50", during.p50_ms), ("p99", during.p99_ms), ("longest", during.max_ms))
        ),
        ("longest gap", f"{report.longest_gap_s * 1000:,.0f}", "ms without an answer"),
        ("this witness", f"{cpu_s / requests * 1000:.2f}", "ms of CPU a request"),
    ]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        [
            f"{report.name}: {requests:,} requests of {report.clients:,} clients in {report.seconds:.1f} s",
            *(f"  {name:<{names}}  {value:>{values}} {unit}" for name, value, unit in rows),
            *(f"  {example}" for example in report.examples),
        ]
    )


def _host(text: str) -> URL:
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host or url.path_qs not in ("", "/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not http://HOST:PORT; a path is given with --path")
    return url


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) < float("inf"):
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def _file(text: str) -> BinaryIO:
    try:
        return Path(text).open("w+b")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
