"""Python imports this when it starts, before gevent can patch."""

import background  # noqa: F401
