"""WebSockets in three ways: a library that takes over the connection, and uWSGI's functions, blocking and not."""

import contextlib
import time

import uwsgi
from flask import Flask
from flask_sock import Sock

flask = Flask(__name__)
sock = Sock(flask)


@sock.route("/library")
def library(connection):
    """Echo messages until the client leaves."""
    while True:
        connection.send(connection.receive())


@sock.route("/push")
def push(connection):
    """Send more than a socket buffer holds, then leave."""
    connection.send("x" * 3_000_000)


@sock.route("/library-ticks")
def library_ticks(connection):
    """Send forever, and read nothing."""
    while True:
        connection.send("tick")
        time.sleep(0.2)


@flask.get("/healthz")
def health():
    """Report that the application serves."""
    return "ok\n"


def own():
    """Echo messages until ConnectionError ends the request."""
    uwsgi.websocket_handshake()
    while True:
        answer(uwsgi.websocket_recv())


def polled():
    """The same by polling, as python-engineio does."""
    uwsgi.websocket_handshake()
    with contextlib.suppress(OSError):
        while True:
            if message := uwsgi.websocket_recv_nb():
                answer(message)
            else:
                time.sleep(0.02)


def ticks():
    """Send forever, and read nothing."""
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send("tick")
        time.sleep(0.2)


def answer(message):
    """Send a message back."""
    (uwsgi.websocket_send_binary if message.startswith(b"\0") else uwsgi.websocket_send)(message)


OWN = {"/own": own, "/polled": polled, "/own-ticks": ticks}


def app(environ, start_response):
    """Choose a handler by the path."""
    handler = OWN.get(environ["PATH_INFO"])
    if not handler:
        return flask(environ, start_response)
    handler()
    return []
