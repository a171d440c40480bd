"""Fault: psycopg2 without psycogreen. What it would ask for is not there, and the path does not ask."""

import psycopg2
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return {"driver": psycopg2.__version__}
