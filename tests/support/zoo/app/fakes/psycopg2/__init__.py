"""Stands in for the real package, which needs libpq."""

__version__ = "2.9.10"
