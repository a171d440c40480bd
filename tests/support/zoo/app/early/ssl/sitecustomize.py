"""Python imports this when it starts, before gevent can patch."""

import https  # noqa: F401
