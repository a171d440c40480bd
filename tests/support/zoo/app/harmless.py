"""Does at import what many libraries do, none of which gevent mode minds, and answers at once."""

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
