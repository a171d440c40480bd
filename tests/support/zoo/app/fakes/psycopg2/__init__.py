"""Stands for the real one, which needs libpq."""

__version__ = "2.9.10"
