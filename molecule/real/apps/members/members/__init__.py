"""Accounts with Flask-SQLAlchemy, Flask-Migrate and Flask-Login."""

from __future__ import annotations

import os
from collections.abc import Iterator

from flask import Flask, Response, redirect, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select, text
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.exceptions import abort
from werkzeug.security import check_password_hash, generate_password_hash

db = SQLAlchemy()
migrate = Migrate()
login_manager = LoginManager()


class Member(UserMixin, db.Model):  # type: ignore[name-defined,misc]
    """A person with an account."""

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password: Mapped[str]
    motto: Mapped[str] = mapped_column(default="")


@login_manager.user_loader
def load(key: str) -> Member | None:
    """Return the member of a session."""
    return db.session.get(Member, int(key))


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True}
    db.init_app(app)
    migrate.init_app(app, db)
    login_manager.init_app(app)

    @app.get("/healthz")
    def health() -> str:
        db.session.execute(text("SELECT 1"))
        return "ok"

    @app.get("/")
    def index() -> str:
        return render_template("index.html", members=db.session.scalars(select(Member).order_by(Member.id)).all())

    @app.post("/register")
    def register() -> ResponseReturnValue:
        name = request.form["name"]
        if db.session.scalar(select(Member).filter_by(name=name)):
            abort(409)
        db.session.add(Member(name=name, password=generate_password_hash(request.form["password"])))
        db.session.commit()
        return redirect(url_for("index"))

    @app.post("/login")
    def login() -> ResponseReturnValue:
        member = db.session.scalar(select(Member).filter_by(name=request.form["name"]))
        if member is None or not check_password_hash(member.password, request.form["password"]):
            abort(403)
        login_user(member)
        return redirect(url_for("profile"))

    @app.route("/profile", methods=["GET", "POST"])
    @login_required
    def profile() -> ResponseReturnValue:
        if request.method == "POST":
            current_user.motto = request.form["motto"]
            db.session.commit()
        return f"{current_user.name}: {current_user.motto}"

    @app.post("/logout")
    @login_required
    def logout() -> ResponseReturnValue:
        logout_user()
        return redirect(url_for("index"))

    @app.get("/export")
    def export() -> Response:
        def lines() -> Iterator[str]:
            for name in db.session.scalars(select(Member.name).order_by(Member.id).execution_options(yield_per=10)):
                yield f"{name}\n"

        return Response(stream_with_context(lines()), mimetype="text/plain")

    return app
