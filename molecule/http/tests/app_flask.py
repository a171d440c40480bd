"""The answers of app_raw.py, by a Flask application."""

from flask import Flask, request, url_for

app = Flask(__name__)
METHODS = ["GET", "POST"]


@app.get("/healthz")
def health():
    """Report that the application serves."""
    return "ok\n"


@app.post("/form")
def form():
    """Answer with the fields of a form."""
    return {"name": request.form["name"], "x": len(request.form["x"])}


@app.route("/", defaults={"path": ""}, methods=METHODS)
@app.route("/<path:path>", methods=METHODS)
def echo(path):
    """Answer with the request as it arrived."""
    body = request.get_data()
    document = {name: value for name, value in request.environ.items() if isinstance(value, str)}
    return {"environ": document, "received": len(body), "url": url_for("echo", path=path, _external=True)}
