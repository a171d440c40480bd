"""Shared by tests that run Ansible as a whole, or a browser."""

from tests.support.load_target import server

__all__ = ["server"]
