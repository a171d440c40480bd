"""Fault: each request runs a loop of asyncio, of which Python allows one a thread."""

import asyncio

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    asyncio.run(asyncio.sleep(0.1))
    return {}
