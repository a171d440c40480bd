"""Asks others over TLS."""

import ssl

PROTOCOL = ssl.PROTOCOL_TLS_CLIENT


class Context(ssl.SSLContext):
    """With the company's certificates."""
