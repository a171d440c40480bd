"""Fault: the application asks gevent for the lock that gevent has replaced."""

import time

from flask import Flask
from gevent.monkey import get_original

app = Flask(__name__)
lock = get_original("threading", "Lock")()


@app.get("/")
def index():
    with lock:
        time.sleep(0.1)
    return {}
