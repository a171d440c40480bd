"""Fault: a thread pool from before the patch, whose threads exist in no worker."""

import background
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"sum": background.pool.submit(sum, [1, 2]).result()}
