"""Answers from a process pool, at one path."""

import multiprocessing


def app(environ, start_response):
    answer = 0
    if environ["PATH_INFO"] == "/work":
        with multiprocessing.get_context("fork").Pool(2) as pool:
            answer = sum(pool.map(abs, range(-9, 1)))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]
