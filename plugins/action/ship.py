"""Action: ship the release of a plan, and unpack it on the host. The module of this name documents it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.following import FollowingAction
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import looked_up, planned

# Bytes of an archive that is sent with the module, which is as large. A file of its own takes four more commands.
_SMALL = 256 << 10
# What the module reads of an archive's record.
_NEEDED = ("id", "digest", "file", "sha256", "unpacked", "installer", "installs")


class ActionModule(FollowingAction):
    """Named as Ansible expects."""

    def follow(self, plan: Plan, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of the module ``release``."""
        # To look again reads all of the wheelhouse.
        artifact = (looked_up if plan.wheels else planned)(plan.request)
        incoming, inline = "", {}
        if not self._task.check_mode:
            if plan.wheels and not artifact.wheelhouse["built"]:
                cache = Path(artifact.wheelhouse["path"]).parent
                removed = f"or were removed from artifact_cache={cache} meanwhile: deploy again"
                return {"failed": True, "msg": f"its wheels were not built, {removed}"}
            archives = [*([artifact.code] if plan.code else []), *([artifact.wheelhouse] if plan.wheels else [])]
            for path in (Path(archive["path"]) for archive in archives):
                if content := _small(path):
                    inline[path.name] = base64.b64encode(content).decode()
                else:
                    self.put(path, task_vars)
                    incoming = self.directory(task_vars)
        # The locks and patches of a wheelhouse are 300 KB, which would go to every host and come back with its result.
        parts = {
            part: {name: entry[name] for name in _NEEDED if name in entry}
            for part, entry in (("code", artifact.code), ("wheelhouse", artifact.wheelhouse))
        }
        return self.ask(
            "flaskops.uwsgi.release",
            {
                "app_name": plan.app_name,
                "base_dir": str(Path(plan.root).parent),
                "artifact": {"id": artifact.id, "digest": artifact.digest, **parts},
                "python": artifact.python,
                "run": plan.run,
                "replace": plan.replace,
                "incoming": incoming,
                "inline": inline,
            },
            task_vars,
        )


def _small(path: Path) -> bytes:
    """Return the content of a small archive; nothing if it is large, or cannot be read: to copy it then says why."""
    with suppress(OSError):
        if path.stat().st_size <= _SMALL:
            return path.read_bytes()
    return b""
