"""A swap cuts a stream that outlasts the stop timeout; its client and the operator can detect it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from typing import Any

from tests.support.application import Deploy, Release
from tests.support.wire import request

STOP_S = 4


def test_a_swap_reports_the_streams_that_it_cut(
    deployed: Deploy, release: Release, mode: str, play: Callable[..., Any]
) -> None:
    variables = {"flask_uwsgi_stop_timeout": STOP_S, "flask_uwsgi_processes": 1}
    site = deployed(release("app_events.py"), mode, **variables)
    before = site.unit
    changed = json.dumps({"flask_uwsgi_environment": {"CHANGED": "1"}})
    with socket.create_connection(site.address, timeout=120) as reader:
        reader.sendall(request(line="GET /events/600/0.5 HTTP/1.1"))
        received = b""
        while b"data: 0" not in received:
            received += reader.recv(4096)
        done = play("deploy", *site.extra_vars, "-e", changed)
        problem = ""
        try:
            while piece := reader.recv(4096):
                received += piece
        except ConnectionResetError as error:
            problem = str(error)
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, said
    assert problem, "the stream seemed to end normally"
    assert b"data: 1" in received and b"data: all" not in received
    # A busy machine may take longer to stop it than the stop may take.
    cut = r"1 request was cut (\d+) s after the stop began: set flask_uwsgi_stop_timeout above the longest"
    (seconds,) = re.findall(cut, said) or [said[-2000:]]
    assert STOP_S <= int(seconds) < STOP_S + 20
    assert site.run(f"systemctl show {before} --property=Result --value").strip() == "success"
