"""Requests a slow service."""

from contextlib import suppress
from socket import AF_INET, SOCK_DGRAM, socket


def wait():
    with socket(AF_INET, SOCK_DGRAM) as quiet:
        quiet.bind(("127.0.0.1", 0))
        quiet.settimeout(0.1)
        with suppress(TimeoutError):
            quiet.recv(1)
