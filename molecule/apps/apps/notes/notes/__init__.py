"""Notes in SQLite: an application factory with a migration, templates and static files."""

import os
import sqlite3
from pathlib import Path

from flask import Flask, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

# Each runs once; their number is the version of the database.
MIGRATIONS = ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",)


def create_app() -> Flask:
    """Create the application, which keeps its data in the state directory that systemd sets."""
    app = Flask(__name__)
    app.config["DATABASE"] = Path(os.environ.get("STATE_DIRECTORY", ".")) / "notes.sqlite"

    def database() -> sqlite3.Connection:
        if "database" not in g:
            g.database = sqlite3.connect(app.config["DATABASE"])
        return g.database  # type: ignore[no-any-return]

    @app.teardown_appcontext
    def close(_: BaseException | None) -> None:
        if "database" in g:
            g.pop("database").close()

    @app.cli.command("migrate")
    def migrate() -> None:
        """Bring the database up to date."""
        (version,) = database().execute("PRAGMA user_version").fetchone()
        for number, statement in enumerate(MIGRATIONS[version:], version + 1):
            with database():
                database().execute(statement)
                database().execute(f"PRAGMA user_version = {number}")
            print(f"migrated to {number}")
        with (app.config["DATABASE"].with_name("migrations.log")).open("a") as log:
            log.write(f"{os.environ['FLASK_UWSGI_GENERATION']}\n")

    @app.get("/")
    def index() -> ResponseReturnValue:
        notes = database().execute("SELECT text FROM note ORDER BY id").fetchall()
        return render_template("index.html", notes=[text for (text,) in notes])

    @app.post("/")
    def add() -> ResponseReturnValue:
        with database():
            database().execute("INSERT INTO note (text) VALUES (?)", (request.form["text"],))
        return redirect(url_for("index"))

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        database().execute("SELECT count(*) FROM note").fetchone()
        return {"status": "ok"}

    return app
