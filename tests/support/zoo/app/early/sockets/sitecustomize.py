"""Python imports this when it starts, before gevent can patch."""

import client  # noqa: F401
