"""Fault: a module that was imported before the patch waits on a socket that gevent did not patch."""

import client
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    client.wait()
    return {}
