"""Fault: ssl is patched when a class has been made from it already."""

import https
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"protocol": https.Context(https.PROTOCOL).protocol}
