"""A diary structured like Flask's tutorial: a factory, SQLite and pictures in the instance folder, and `init-db`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import abort
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.utils import secure_filename

from diary import db


def create_app(test_config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application, which keeps everything in its instance folder."""
    app = Flask(__name__, instance_relative_config=True)
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SECRET_KEY", "dev"),
        DATABASE=str(Path(app.instance_path, "diary.sqlite")),
        PICTURES=str(Path(app.instance_path, "pictures")),
    )
    if test_config is None:
        app.config.from_pyfile("config.py", silent=True)
    else:
        app.config.from_mapping(test_config)
    Path(app.config["PICTURES"]).mkdir(parents=True, exist_ok=True)
    db.init_app(app)
    add_pages(app)
    return app


def add_pages(app: Flask) -> None:
    """Add the pages of the diary."""

    @app.before_request
    def load_author() -> None:
        known = session.get("author")
        g.author = known and db.get().execute("SELECT * FROM author WHERE id = ?", (known,)).fetchone()

    @app.get("/")
    def index() -> str:
        entries = db.get().execute(
            "SELECT e.title, e.body, e.picture, a.name FROM entry e JOIN author a ON a.id = e.author ORDER BY e.id DESC"
        )
        return render_template("index.html", entries=entries.fetchall())

    @app.get("/hello")
    def hello() -> str:
        return "Hello, World!"

    @app.post("/auth/register")
    def register() -> ResponseReturnValue:
        try:
            db.get().execute(
                "INSERT INTO author (name, password) VALUES (?, ?)",
                (request.form["name"], generate_password_hash(request.form["password"])),
            )
            db.get().commit()
        except db.IntegrityError:
            return "registered already", 409
        return redirect(url_for("index"))

    @app.post("/auth/login")
    def login() -> ResponseReturnValue:
        author = db.get().execute("SELECT * FROM author WHERE name = ?", (request.form["name"],)).fetchone()
        if author is None or not check_password_hash(author["password"], request.form["password"]):
            abort(403)
        session.clear()
        session["author"] = author["id"]
        flash("Welcome back.")
        return redirect(url_for("index"))

    @app.post("/write")
    def write() -> ResponseReturnValue:
        if g.author is None:
            abort(401)
        sent = request.files.get("picture")
        name = secure_filename(sent.filename or "") if sent else ""
        if sent and name:
            sent.save(Path(app.config["PICTURES"], name))
        db.get().execute(
            "INSERT INTO entry (author, title, body, picture) VALUES (?, ?, ?, ?)",
            (g.author["id"], request.form["title"], request.form["body"], name),
        )
        db.get().commit()
        return redirect(url_for("index"))

    @app.get("/pictures/<name>")
    def picture(name: str) -> Response:
        from flask import send_from_directory

        return send_from_directory(app.config["PICTURES"], name)

    @app.get("/export")
    def export() -> Response:
        rows = db.get().execute("SELECT title FROM entry ORDER BY id").fetchall()

        def lines() -> Iterator[str]:
            for row in rows:
                yield f"{row['title']}\n"

        return Response(lines(), mimetype="text/plain")
