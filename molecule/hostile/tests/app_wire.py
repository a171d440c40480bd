"""The application of the wire tests: it answers with the request as it arrived."""

import json
import time
import urllib.parse


def app(environ, start_response):
    """Answer with the request, with a long body, or slowly."""
    path = environ.get("PATH_INFO", "")
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if path not in ("/healthz", "/echo", "/wait", "/long", "/stream"):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"the application has no such page\n"]
    start_response("200 OK", [("Content-Type", "application/json")])
    if path == "/wait":
        time.sleep(0.2)
    if path == "/long":
        return [b"x" * int(urllib.parse.parse_qs(environ["QUERY_STRING"])["size"][0])]
    if path == "/stream":
        return streamed()
    heads = {name: value for name, value in environ.items() if name.startswith(("HTTP_", "CONTENT_"))}
    return [json.dumps({"heads": heads, "received": len(body)}).encode()]


def streamed():
    """Send something every other second, for longer than a client's timeout."""
    for number in range(6):
        yield b"%d\n" % number
        time.sleep(1.5)
