"""Runs work in the background of requests."""

from concurrent.futures import ThreadPoolExecutor

pool = ThreadPoolExecutor(1)
pool.submit(sum, [1, 2]).result()
