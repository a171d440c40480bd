"""Names a generation once in a run of Ansible, however many hosts get it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict
from pathlib import Path

from ..run.once import once
from ..settings.settings import Settings
from ..source.artifact import Artifact
from . import generation
from .choice import Choice

# Settings can be secrets, which nobody may guess from what is kept. Ansible imports this before it forks a process for
# each host, and the key ends with the run.
_KEY = secrets.token_bytes(32)


def once_a_run(settings: Settings, artifact: Artifact, choice: Choice, cache: str) -> generation.Generation:
    """Return the name of the generation that settings and an artifact make.

    Args:
        settings: the application's.
        artifact: its release.
        choice: how it serves.
        cache: a folder on the controller.
    """
    made_of = json.dumps([asdict(settings), artifact.digest, artifact.source, asdict(choice)], sort_keys=True)
    key = hmac.new(_KEY, made_of.encode(), hashlib.sha256).hexdigest()

    def work() -> str:
        return json.dumps(asdict(generation.named(settings, artifact, choice)))

    return generation.Generation(**json.loads(once(Path(cache), f"generation {key}", work)))
