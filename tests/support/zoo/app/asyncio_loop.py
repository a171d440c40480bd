"""Fault: each request runs an asyncio loop, of which Python allows one per thread."""

import asyncio

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    asyncio.run(asyncio.sleep(0.1))
    return {}
