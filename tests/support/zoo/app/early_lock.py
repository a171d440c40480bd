"""Fault: a lock from before the patch is held during a wait; the next request for it then blocks the whole worker."""

import time

import ledger
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    with ledger.lock:
        time.sleep(0.1)
    return {}
