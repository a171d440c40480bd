"""A chat with Flask-SocketIO."""

from __future__ import annotations

import os

from flask import Flask, render_template, request
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY", "dev")
socketio = SocketIO(app)


@app.get("/")
def index() -> str:
    """Show the page that connects."""
    return render_template("index.html", mode=socketio.async_mode)


@socketio.on("join")
def join(message: dict[str, str]) -> None:
    """Add a client to a room."""
    join_room(message["room"])
    emit("joined", {"room": message["room"], "sid": request.sid})  # type: ignore[attr-defined]


@socketio.on("say")
def say(message: dict[str, str]) -> None:
    """Send a message to a room."""
    emit("said", {"text": message["text"]}, to=message["room"])


if __name__ == "__main__":
    socketio.run(app)
