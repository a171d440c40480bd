"""The ships in a harbour: a project as `uv init --package` creates it."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

import click
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

SHIPS = Path(os.environ.get("STATE_DIRECTORY", ".")) / "ships.json"


def create_app(name: str = "harbour") -> Flask:
    """Create the application for a harbour."""
    app = Flask(__name__)

    @app.get("/")
    def index() -> Response:
        ships = json.loads(SHIPS.read_text()) if SHIPS.exists() else []
        return jsonify(harbour=name, ships=ships, version=version("harbour"))

    @app.post("/manifest")
    def manifest() -> ResponseReturnValue:
        ships = request.files["manifest"].read().decode().split()
        SHIPS.write_text(json.dumps(ships))
        return jsonify(ships), 201

    return app


@click.command()
def main() -> None:
    """Print the version on the command line."""
    click.echo(version("harbour"))
