"""Healthy: subprocess, threads, a pool and a lock, all created and used as usual."""

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
