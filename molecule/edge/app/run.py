"""An application that answers with what it knows of the request, and counts what it has done."""

import os
import socket
from pathlib import Path

from flask import Flask, request, url_for
from gevent import sleep

app = Flask(__name__)
DONE = Path(os.environ["STATE_DIRECTORY"], "done")


@app.get("/healthz")
def healthz():
    """Report that the application serves."""
    return "ok\n"


@app.get("/where")
def where():
    """Answer with the client and the URL that it used."""
    return {
        "host": socket.gethostname(),
        "client": request.remote_addr,
        "url": url_for("where", _external=True),
        "headers": dict(request.headers),
    }


@app.route("/hold/<int:seconds>", methods=["GET", "POST"])
def hold(seconds):
    """Answer after a long while."""
    sleep(seconds)
    return "held\n"


@app.post("/orders/<number>")
def order(number):
    """Execute an order, and confirm it a moment later: one that is sent again meanwhile is executed twice."""
    with DONE.open("a") as file:
        file.write(f"{number}\n")
    sleep(0.05)
    return {"number": number}
