"""Reports its settings, if it knows the request's Host; created by a factory with arguments."""

import json
import os
import sys
from pathlib import Path

NAMES = ("DEBUG", "ONE", "CONFIG", "DATABASE_URL", "TOKEN_FILE", "FLASK_UWSGI_FILES", "FLASK_UWSGI_ROLE")


class Server:
    def __init__(self, kind, debug):
        self.kind, self.debug = kind, debug
        # Code that reads it at import finds it as well.
        self.config = Path(os.environ["CONFIG"]).read_text()

    def __call__(self, environ, start_response):
        if environ["HTTP_HOST"] != "shop.example.org":
            start_response("400 Bad Request", [("Content-Type", "text/html")])
            return [b"<!doctype html>\n<html><head><title>Bad Request (400)</title></head><body></body></html>"]
        start_response("200 OK", [("Content-Type", "application/json")])
        found = {name: os.environ.get(name) for name in NAMES}
        made = {"kind": self.kind, "debug": self.debug, "config": self.config, "utf8": sys.flags.utf8_mode}
        return [json.dumps({**found, **made, "token": Path(os.environ["TOKEN_FILE"]).read_text()}).encode()]


class Shop:
    def __init__(self, kind, debug):
        self.server = Server(kind, debug)


def create_shop(kind, *, debug=False):
    return Shop(kind, debug)
