"""Fault: a call in C waits, which gevent cannot replace."""

import ctypes

from flask import Flask

app = Flask(__name__)
libc = ctypes.CDLL(None)


@app.get("/")
def index():
    libc.usleep(100_000)
    return {}
