"""Flask-SocketIO, which chooses its async mode by itself."""

from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask(__name__)
events = SocketIO(app)


@app.get("/healthz")
def health():
    """Report that the application serves."""
    return "ok\n"


@app.get("/mode")
def mode():
    """Answer with the chosen async mode."""
    return events.async_mode


@events.on("ask")
def ask(word):
    """Answer a message."""
    emit("answer", word * 2)
