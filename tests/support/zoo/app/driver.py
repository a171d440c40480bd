"""Fault: psycopg2 without psycogreen. There is no server, and the path does not connect."""

import psycopg2
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"driver": psycopg2.__version__}
