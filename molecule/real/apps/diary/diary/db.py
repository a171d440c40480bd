"""The database of the diary."""

from __future__ import annotations

import sqlite3

import click
from flask import Flask, current_app, g

IntegrityError = sqlite3.IntegrityError


def get() -> sqlite3.Connection:
    """Return the request's connection."""
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"], timeout=30)
        g.db.row_factory = sqlite3.Row
    connection: sqlite3.Connection = g.db
    return connection


def close(_error: BaseException | None = None) -> None:
    """Close the request's connection."""
    if (connection := g.pop("db", None)) is not None:
        connection.close()


@click.command("init-db")
def init_db() -> None:
    """Drop every table, and create them again."""
    with current_app.open_resource("schema.sql") as schema:
        get().executescript(schema.read().decode())
    click.echo("Initialized the database.")


def init_app(app: Flask) -> None:
    """Make the application close its connections, and add the command."""
    app.teardown_appcontext(close)
    app.cli.add_command(init_db)
