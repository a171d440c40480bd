"""Flask-SocketIO, which chooses by itself how it works."""

from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask(__name__)
events = SocketIO(app)


@app.get("/healthz")
def health():
    """Say that it serves."""
    return "ok\n"


@app.get("/mode")
def mode():
    """Say what it has chosen."""
    return events.async_mode


@events.on("ask")
def ask(word):
    """Answer who asks."""
    emit("answer", word * 2)
