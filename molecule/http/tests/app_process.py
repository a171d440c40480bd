"""Does what Python code expects to be able to do in a process, and reports the state at import."""

import asyncio
import atexit
import json
import locale
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

STATE = pathlib.Path(os.environ["STATE_DIRECTORY"])
if (STATE / "broken").exists():
    raise RuntimeError("what it needs is gone")

link = socket.create_connection(("127.0.0.1", 7777), timeout=5).makefile("rwb", buffering=0)
turn = threading.Lock()
ticks = 0
loaded_by = os.getpid()
forks = []
os.register_at_fork(after_in_child=lambda: forks.append(os.getpid()))


def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.2)


# Python joins such a thread when it ends.
threading.Thread(target=tick, name="ticker").start()


@atexit.register
def bye():
    with (STATE / "bye").open("a") as out:
        print(os.getpid(), os.environ["FLASK_UWSGI_ROLE"], file=out)


def echo(word):
    with turn:
        link.write(word.encode() + b"\n")
        return link.readline().strip().decode()


def look(_):
    name = STATE / "Gr\u00fc\u00dfe.txt"
    with name.open("w") as out:
        out.write("sch\u00f6n")
    child = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, timeout=20)
    mask = subprocess.run(["grep", "SigBlk", "/proc/self/status"], capture_output=True, text=True, timeout=20).stdout
    files = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False).stdout
    child_pid = os.fork()
    if child_pid == 0:
        os._exit(0 if forks == [loaded_by, os.getpid()] else 1)
    return {
        "pid": os.getpid(),
        "loaded_by": loaded_by,
        "ticks": ticks,
        "text": name.read_bytes().decode(errors="replace"),
        "encoding": locale.getpreferredencoding().lower(),
        "executable": sys.executable,
        "child": child.stdout,
        "role": os.environ["FLASK_UWSGI_ROLE"],
        "blocked": mask.split()[1],
        "sockets": files.count("socket:"),
        "fork_seen": os.waitpid(child_pid, 0)[1] == 0,
    }


def square(number):
    return number * number


def pool(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        return sum(workers.map(square, range(5)))


def executor(method):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers:
        return sum(workers.map(square, range(5)))


async def gathered():
    return await asyncio.gather(*[asyncio.to_thread(square, number) for number in range(3)])


def loop(_):
    return asyncio.run(gathered())


def background(_):
    return os.system("sleep 60 >/dev/null 2>&1 &")


PATHS = {"echo": echo, "look": look, "pool": pool, "executor": executor, "loop": loop, "background": background}


def app(environ, start_response):
    _, path, *rest = [*environ["PATH_INFO"].split("/"), ""]
    body = json.dumps(PATHS[path](rest[0]) if path in PATHS else "ok").encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
