"""A small press: Markdown comes in, HTML goes out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import entry_points, version
from pathlib import Path

import markdown
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)
ARTICLES = Path(os.environ.get("STATE_DIRECTORY", ".")) / "articles"


@app.get("/")
def about() -> Response:
    """Show the installed metadata of this project."""
    commands = [entry.value for entry in entry_points(group="console_scripts", name="press")]
    return jsonify(version=version("press"), commands=commands)


@app.post("/articles/<name>")
def store(name: str) -> ResponseReturnValue:
    """Store an article."""
    ARTICLES.mkdir(exist_ok=True)
    (ARTICLES / name).write_text(request.get_data(as_text=True))
    return "stored", 201


@app.get("/articles/<name>")
def show(name: str) -> str:
    """Show an article."""
    return markdown.markdown((ARTICLES / name).read_text())


@app.get("/stream")
def stream() -> Response:
    """Send several lines, one after the other."""

    def lines() -> Iterator[str]:
        for number in range(5):
            yield f"{number}\n"

    return Response(lines(), mimetype="text/plain")


def main() -> None:
    """Print the version on the command line."""
    print(version("press"))
