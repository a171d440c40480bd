"""Fault: os.system waits in C; subprocess would yield."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"status": os.system("sleep 0.1")}
