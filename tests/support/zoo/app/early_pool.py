"""Fault: a pool of threads from before the patch, whose threads no worker has."""

import background
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"sum": background.pool.submit(sum, [1, 2]).result()}
