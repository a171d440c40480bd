"""What the settings of both roles ask of an artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.dataloader import DataLoader

from ...module_utils.release.artifact import ArtifactError
from ..run.seal import opened, seal
from ..settings.reading import plain
from ..settings.settings import Settings
from ..settings.specs import ROLES
from ..source.artifact import Request

_ROLE = ROLES / "artifact"
# When this is imported: Ansible does so once, before it forks a process for each host.
_DEFAULTS: dict[str, Any] = DataLoader().load_from_file(str(_ROLE / "defaults" / "main.yml"), trusted_as_template=True)
_LIMITS = ("artifact_build_timeout", "artifact_build_memory_mb", "artifact_build_disk_mb", "artifact_build_tasks")


def requested(settings: Settings, host: Mapping[str, Any], variables: Mapping[str, Any], templar: Any) -> Request:
    """Return what is asked of an artifact for a deploy.

    Args:
        settings: the application's.
        host: ``host`` of the module ``host_state``.
        variables: the variables of a task; those of the role ``artifact`` may be among them.
        templar: Ansible's templar of the task.

    Raises:
        ArtifactError: a variable of the role ``artifact`` cannot be evaluated.
    """
    given = {
        "artifact_source": settings.source,
        "artifact_requirements": settings.requirements,
        "artifact_wsgi_file": "" if settings.module else settings.wsgi_file,
        "artifact_install": settings.install,
        "artifact_source_packages": settings.build_packages,
        "artifact_platform": host["platform"],
        "artifact_python": host.get("chosen", {}).get("path", ""),
    }
    return of_role({**variables, **given}, templar)


def of_role(variables: Mapping[str, Any], templar: Any) -> Request:
    """Return what the variables of the role ``artifact`` ask for.

    Args:
        variables: the variables of a task. The role has no default of ``artifact_source`` and ``artifact_platform``.
        templar: Ansible's templar of the task.

    Raises:
        ArtifactError: a variable cannot be evaluated.
    """
    available = {**_DEFAULTS, **variables, "role_path": str(_ROLE)}
    known = templar.copy_with_new_env(available_variables=available)

    def value(name: str) -> Any:
        try:
            return plain(known.template(available[name]))
        except AnsibleError as error:
            raise ArtifactError(f"{name} cannot be evaluated: {' '.join(str(error).split())}. Correct it") from error

    return Request(
        source=value("artifact_source"),
        requirements=value("artifact_requirements"),
        wsgi_file=value("artifact_wsgi_file"),
        install=boolean(value("artifact_install")),
        server_lock=value("artifact_server_lock"),
        build_lock=value("artifact_build_lock"),
        patches=str(_ROLE / "files" / "patches") if boolean(value("artifact_patched")) else "",
        build_packages=value("artifact_source_packages"),
        exclude=value("artifact_exclude"),
        limits={name: value(name) for name in _LIMITS},
        platform=value("artifact_platform"),
        python=value("artifact_python"),
        cache=value("artifact_cache"),
    )


def sealed(request: Request) -> str:
    """Return a request for a result that Ansible may show: the address of a source may have a password."""
    return seal(json.dumps(asdict(request)))


def unsealed(text: str) -> Request:
    """Return the request of :func:`sealed`.

    Raises:
        SealError: the text is none, or another run's.
    """
    return Request(**json.loads(opened(text)))
