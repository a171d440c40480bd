"""Fault: a request computes, while all others of the worker wait."""

import time

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    end = time.process_time() + 0.12
    while time.process_time() < end:
        pass
    return {}
