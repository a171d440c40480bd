"""Fault: ssl is patched after a class has been derived from it."""

import https
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"protocol": https.Context(https.PROTOCOL).protocol}
