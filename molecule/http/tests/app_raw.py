"""A WSGI application without a framework: it answers with the request, or does what the path asks for."""

import io
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

# The paths of requests whose generator was closed, and the number of answered requests.
closed = []
asked = []


def app(environ, start_response):
    """Answer with the request as it arrived, or do what the path says."""
    asked.append(environ.get("PATH_INFO"))
    name = (environ.get("PATH_INFO") or "").strip("/").partition("/")[0]
    return ANSWERS.get(name, echo)(environ, start_response)


def plain(start_response, body, status="200 OK", *headers):
    """Answer with a text."""
    start_response(status, [("Content-Type", "text/plain"), *headers])
    return [body]


def echo(environ, start_response):
    """Answer with the request as it arrived."""
    body = environ["wsgi.input"].read()
    document = {name: value for name, value in environ.items() if isinstance(value, str)}
    shown = json.dumps({"environ": document, "received": len(body), "begins": body[:100].decode("latin-1")})
    return plain(start_response, shown.encode())


def reads(environ, start_response):
    """Read the body with each method in turn."""
    source = environ["wsgi.input"]
    found = [source.read(0), source.read(2), source.readline(), source.read(1), source.read(-1), source.read()]
    return plain(start_response, json.dumps([part.decode() for part in found]).encode())


def steps(environ, start_response):
    """Call methods of the input in turn: /steps?readline:2;read;iter."""
    source, found = environ["wsgi.input"], []
    for step in environ["QUERY_STRING"].split(";"):
        name, _, size = step.partition(":")
        sizes = [None if size == "None" else int(size)] if size else []
        value = list(source) if name == "iter" else getattr(source, name)(*sizes)
        found.append([line.decode() for line in value] if isinstance(value, list) else value)
    return plain(start_response, json.dumps(found, default=bytes.decode).encode())


def count(environ, start_response):
    """Read the body in pieces, and answer with its length and checksum."""
    source, length, total = environ["wsgi.input"], 0, 0
    while piece := source.read(65536):
        length += len(piece)
        total += sum(piece[::4096])
    return plain(
        start_response, json.dumps({"length": length, "sum": total, "said": environ["CONTENT_LENGTH"]}).encode()
    )


class Parts:
    """Parts of a body that record whether they were closed."""

    def __init__(self, path, parts, pause=0.0):
        self.path, self.parts, self.pause = path, iter(parts), pause

    def __iter__(self):
        return self

    def __next__(self):
        part = next(self.parts)
        if self.pause:
            time.sleep(self.pause)
        return part

    def close(self):
        """Record the call."""
        closed.append(self.path)


def body(environ, start_response):
    """Yield a body, whatever the method and the status are."""
    status = environ["QUERY_STRING"] or "200 OK"
    start_response(status.replace("+", " "), [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return Parts(environ["PATH_INFO"], [b"01234", b"56789"])


def parts(environ, start_response):
    """Answer without a length, in parts: /parts?a,b."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    kind, _, named = environ["QUERY_STRING"].partition(":")
    found = [part.encode() for part in named.split(",")] if named else []
    return {"list": found, "tuple": tuple(found)}.get(kind, iter(found))


def written(environ, start_response):
    """Answer through the callable that start_response returns."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"one")
    write(b"")
    write(b"two")
    return [b"three"]


def killed(environ, start_response):
    """Begin an answer, then kill the worker."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"before"
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


def stream(environ, start_response):
    """Send something ten times a second, forever."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return Parts(environ["PATH_INFO"], (b"data: %d\n\n" % number for number in iter(int, 1)), pause=0.1)


def events(environ, start_response):
    """Send five events, each after the client has asked for it at /go."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    for number in range(5):
        yield b"data: %d\n\n" % number
        time.sleep(0.3)


def length(environ, start_response):
    """Announce one length and yield another: /length?ANNOUNCED,YIELDED."""
    promised, yielded = map(int, environ["QUERY_STRING"].split(","))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(promised))])
    for _ in range(yielded):
        yield b"x"


STATUSES = {"continue": "100 Continue", "word": "OK", "break": "200 OK\r\nSet-Cookie: a=b", "digits": "2000 OK"}
LENGTHS = {"length": ["5x"], "negative": ["-5"], "no-length": [""], "lengths": ["5", "4"]}


def fail(environ, start_response):
    """Fail at the point that the query names."""
    point = environ["QUERY_STRING"]
    if point == "call":
        raise RuntimeError(point)
    if point == "exit":
        raise SystemExit(point)
    if point in ("forgets", "forgets-empty"):
        return [] if point.endswith("empty") else [b"no head"]
    if point == "header":
        return plain(start_response, b"", "200 OK", ("X-Evil", "a\r\nSet-Cookie: b"))
    if point in STATUSES:
        return plain(start_response, b"", STATUSES[point])
    if point in LENGTHS:
        return plain(start_response, b"12345", "200 OK", *(("Content-Length", value) for value in LENGTHS[point]))
    if point == "large-header":
        return plain(start_response, b"", "200 OK", ("X-Large", "a" * 70000))
    start_response("200 OK", [("Content-Type", "text/plain")])
    if point == "none":
        return None
    if point == "text":
        return ["text"]
    if point == "replaced":
        start_response(
            "503 Service Unavailable", [("Content-Type", "text/plain")], (RuntimeError, RuntimeError(), None)
        )
        return [b"replaced"]
    if point == "again":
        return raised_again(start_response)
    return failing(point)


def failing(point):
    """Raise before or after the first part."""
    if point == "later":
        yield b"first"
    raise RuntimeError(point)


def raised_again(start_response):
    """Try to answer with an error when it is too late."""
    yield b"first"
    try:
        raise RuntimeError
    except RuntimeError as error:
        start_response("500 Internal Server Error", [], (type(error), error, error.__traceback__))


def file(environ, start_response):
    """Send a file with wsgi.file_wrapper, in the way that the query names."""
    data = bytes(range(256)) * 40
    kind = environ["QUERY_STRING"]
    if kind == "memory":
        opened = io.BytesIO(data)
    else:
        opened = tempfile.TemporaryFile()  # noqa: SIM115 (the server closes it)
        opened.write(data)
        opened.seek(100 if kind == "seek" else 0)
    promised = {"short": 1000, "seek": len(data) - 100}.get(kind, len(data))
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(promised))])
    return environ["wsgi.file_wrapper"](opened, 4096)


def pipe(environ, start_response):
    """Send a program's output, which has no known size."""
    program = subprocess.Popen(["echo", "through a pipe"], stdout=subprocess.PIPE)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](program.stdout)


def hop(environ, start_response):
    """Send hop-by-hop headers."""
    headers = [("Connection", "keep-alive"), ("Keep-Alive", "timeout=5"), ("Transfer-Encoding", "chunked")]
    return plain(start_response, b"hop", "200 OK", *headers)


def large(environ, start_response):
    """Send many bytes."""
    return plain(start_response, b"x" * int(environ["QUERY_STRING"]))


def seen(environ, start_response):
    """Answer with what this worker has recorded, and with its memory use."""
    status = pathlib.Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return plain(start_response, json.dumps({"closed": closed, "asked": asked, "peak_kb": peak}).encode())


ANSWERS = {
    "healthz": lambda environ, start_response: plain(start_response, b"ok\n"),
    "reads": reads,
    "steps": steps,
    "parts": parts,
    "written": written,
    "killed": killed,
    "count": count,
    "body": body,
    "stream": stream,
    "events": events,
    "length": length,
    "fail": fail,
    "file": file,
    "pipe": pipe,
    "hop": hop,
    "large": large,
    "seen": seen,
}
