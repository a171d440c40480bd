"""Server-sent events, some after long pauses, and a WebSocket that stays open."""

import time

from flask import Flask, Response
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)


@app.get("/healthz")
def health():
    """Report that the application serves."""
    return "ok\n"


@app.get("/events/<int:number>/<float:pause>")
def events(number, pause):
    """Send a number of events, each followed by a pause of so many seconds."""

    def stream():
        try:
            for event in range(number):
                yield f"data: {event}\n\n"
                time.sleep(pause)
            yield "data: all\n\n"
        finally:
            print(f"the stream of {number} events has ended", flush=True)

    return Response(stream(), mimetype="text/event-stream")


@app.get("/never")
def never():
    """Wait without an answer."""
    time.sleep(600)
    return ""


@sock.route("/socket")
def socket(connection):
    """Echo messages; block the whole worker on request."""
    while True:
        message = connection.receive()
        while message == "hold up":
            pass
        connection.send(message)
