"""Fault: a lock from before the patch is held while something waits; whoever wants it then stops the whole worker."""

import time

import ledger
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    with ledger.lock:
        time.sleep(0.1)
    return {}
