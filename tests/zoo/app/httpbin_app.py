"""Healthy: a large application that others wrote."""

from httpbin import app  # noqa: F401
