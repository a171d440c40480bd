"""gevent and requests: code that looks blocking, and a patch that makes it yield to the other requests."""

from gevent import monkey

# Before every other import: modules that have already imported a blocking function keep it.
monkey.patch_all()

import sys

import gevent
import requests
from gevent.pool import Pool
from requests.adapters import HTTPAdapter

from clients import common


def send(load: common.Load) -> None:
    """Send all requests of the load."""
    pool = Pool(load.concurrency)
    with requests.Session() as session:
        # A proxy named in the environment would be measured instead of the host.
        session.trust_env = False
        # The cap is ten connections by default: those beyond it would be closed after each request.
        adapter = HTTPAdapter(pool_maxsize=load.concurrency)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        for _ in range(load.requests):
            pool.spawn(ask, session, load)
        pool.join()


def ask(session: requests.Session, load: common.Load) -> None:
    """Send one request."""
    # The timeout of requests applies to each read: a slow response would never reach it.
    with load.request() as answer, gevent.Timeout(load.timeout_s, TimeoutError):
        response = session.post(load.url, data=load.body, headers=load.headers, allow_redirects=False)
        answer.status = response.status_code


if __name__ == "__main__":
    sys.exit(common.main("gevent", __file__, ["gevent", "requests"], send))
