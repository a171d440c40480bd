"""Not a fault of gevent: the path redirects to a login."""

from flask import Flask, redirect

app = Flask(__name__)


@app.get("/")
def index():
    return redirect("/login")
