"""Names a generation once in a run of Ansible, however many hosts get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..run.once import once
from ..run.seal import fingerprint
from ..settings.settings import Settings
from ..source.artifact import Artifact
from . import generation
from .choice import Choice


def once_a_run(settings: Settings, artifact: Artifact, choice: Choice, cache: str) -> generation.Generation:
    """Return the name of the generation that settings and an artifact make.

    Args:
        settings: the application's.
        artifact: its release.
        choice: how it serves.
        cache: a folder on the controller.
    """
    made_of = json.dumps([asdict(settings), artifact.digest, artifact.source, asdict(choice)], sort_keys=True)

    def work() -> str:
        return json.dumps(asdict(generation.named(settings, artifact, choice)))

    return generation.Generation(**json.loads(once(Path(cache), f"generation {fingerprint(made_of)}", work)))
