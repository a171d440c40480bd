"""An application that ships as a wheel, served below a mount point."""

from flask import Flask, url_for

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name: str) -> dict[str, str]:
    """Greet, and say where this page is mounted."""
    return {"hello": name, "here": url_for("hello", name=name)}


@app.get("/healthz")
def healthz() -> dict[str, str]:
    """Report that the application serves."""
    return {"status": "ok"}
