"""Does at import what many libraries do without harm in gevent mode, and answers immediately."""

import asyncio
import queue
import threading

from flask import Flask

app = Flask(__name__)
done = asyncio.Event
lock = threading.Lock()
jobs: queue.Queue[str] = queue.Queue()


def work() -> None:
    while True:
        jobs.get()


threading.Thread(target=work, daemon=True).start()


@app.get("/")
def index() -> str:
    with lock:
        jobs.put("looked")
    return "ok\n"
