"""A WSGI application without a framework: it answers what it was asked, or what a path asks for."""

import json


def app(environ, start_response):
    """Answer what came of a request, or do what the path says."""
    path = environ.get("PATH_INFO")
    answer = ANSWERS.get(path.strip("/")) if path else None
    if answer:
        return answer(environ, start_response)
    body = environ["wsgi.input"].read()
    document = {name: value for name, value in environ.items() if isinstance(value, str)}
    shown = json.dumps({"environ": document, "received": len(body), "begins": body[:100].decode("latin-1")})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [shown.encode()]


def health(environ, start_response):
    """Say that it serves."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok\n"]


ANSWERS = {"healthz": health}
