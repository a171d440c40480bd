"""What the settings of both roles ask of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from ...module_utils.release.artifact import ArtifactError
from ..settings.reading import plain
from ..settings.settings import Settings
from ..settings.specs import ROLES
from ..source.artifact import Request

_ROLE = ROLES / "artifact"
# When this is imported: Ansible does so once, before it forks a process for each host.
_DEFAULTS: dict[str, Any] = DataLoader().load_from_file(str(_ROLE / "defaults" / "main.yml"), trusted_as_template=True)
_LIMITS = ("artifact_build_timeout", "artifact_build_memory_mb", "artifact_build_disk_mb", "artifact_build_tasks")


def requested(settings: Settings, platform: str, variables: Mapping[str, Any], templar: Any) -> Request:
    """Return what is asked of an artifact.

    Args:
        settings: the application's.
        platform: distribution, architecture and Python of the host.
        variables: the variables of a task; those of the role ``artifact`` may be among them.
        templar: Ansible's templar of the task.

    Raises:
        ArtifactError: a variable of the role ``artifact`` cannot be evaluated.
    """
    known = templar.copy_with_new_env(available_variables={**_DEFAULTS, **variables, "role_path": str(_ROLE)})

    def value(name: str) -> Any:
        try:
            return plain(known.template(variables.get(name, _DEFAULTS[name])))
        except AnsibleError as error:
            raise ArtifactError(f"{name} cannot be evaluated: {' '.join(str(error).split())}. Correct it") from error

    return Request(
        source=settings.source,
        requirements=settings.requirements,
        wsgi_file="" if settings.module else settings.wsgi_file,
        install=settings.install,
        server_lock=value("artifact_server_lock"),
        build_lock=value("artifact_build_lock"),
        patches=str(_ROLE / "files" / "patches"),
        build_packages=settings.build_packages,
        exclude=value("artifact_exclude"),
        limits={name: value(name) for name in _LIMITS},
        platform=platform,
        cache=value("artifact_cache"),
    )
