"""A client for TLS."""

import ssl

PROTOCOL = ssl.PROTOCOL_TLS_CLIENT


class Context(ssl.SSLContext):
    """A context with the company's certificates."""
