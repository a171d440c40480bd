"""Keeps within a run of Ansible what may be secret: nobody outside can read it, or guess it from what is kept."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken

# Ansible imports this before it forks a process for each host, and the key ends with the run.
_KEY = Fernet.generate_key()


class SealError(Exception):
    """There is no text, or another run has sealed it."""


def fingerprint(text: str) -> str:
    """Return what two equal texts have in common, without a clue to the text."""
    return hmac.new(_KEY, text.encode(), hashlib.sha256).hexdigest()


def seal(text: str) -> str:
    """Return a text that only this run can read, for a result that Ansible may show."""
    return Fernet(_KEY).encrypt(text.encode()).decode()


def opened(sealed: str) -> str:
    """Return the text of a seal.

    Raises:
        SealError: it is none, or another run's.
    """
    try:
        return Fernet(_KEY).decrypt(sealed).decode()
    except InvalidToken as error:
        raise SealError("nothing was sealed, or another run of Ansible has sealed it") from error
