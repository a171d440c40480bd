"""No fault of gevent's: the path leads to a login."""

from flask import Flask, redirect

app = Flask(__name__)


@app.get("/")
def index():
    return redirect("/login")
