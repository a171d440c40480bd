"""Healthy: subprocess, threads, a pool and a lock, all of them made and used as one does."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

app = Flask(__name__)
pool = ThreadPoolExecutor(32)
lock = threading.Lock()
beats = []


def beat():
    while True:
        beats.append(time.monotonic())
        time.sleep(0.5)


threading.Thread(target=beat, daemon=True).start()


@app.get("/")
def index():
    subprocess.run(["sleep", "0.05"], check=True)
    pool.submit(time.sleep, 0.05).result()
    with lock:
        return {"beats": len(beats)}
