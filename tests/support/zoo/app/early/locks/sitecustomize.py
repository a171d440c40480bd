"""Python imports this when it starts, before gevent can patch."""

import ledger  # noqa: F401
