"""What the modules that send load do alike: refuse, skip, run, and return what was measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import result
from .engine import LoadError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


@dataclass(frozen=True)
class Job:
    """A run of a load generator.

    Args:
        name: the generator, and the name of the result.
        install: how to install it.
        nothing: the result before anything is measured.
        mistakes: what is wrong with the parameters; empty if nothing is.
        measure: runs the executable at a path, and returns the result.
        shortage: returns what the machine or the target lacks; empty if nothing.
    """

    name: str
    install: str
    nothing: Mapping[str, Any]
    mistakes: str
    measure: Callable[[str], dict[str, Any]]
    shortage: Callable[[], str]

    def run(self, module: AnsibleModule) -> None:
        """Run it, and end the module with its result.

        Args:
            module: the module.
        """
        if self.mistakes:
            self._fail(module, LoadError("usage", self.mistakes))
        if module.check_mode:
            self._skip(module, "check mode: no load was sent")
        executable = shutil.which(module.params["executable"])
        if executable is None:
            missing = f"{module.params['executable']} was not found on the host that runs it"
            self._fail(module, LoadError("missing", missing, self.install))
            return
        if short := self.shortage():
            module.warn(f"{self.name} -c {module.params['concurrency']} skipped: {short}")
            self._skip(module, short)
        try:
            found = self.measure(executable)
        except (OSError, UnicodeDecodeError) as error:
            said = f"{self.name} could not be run, or its output could not be kept: {error}"
            self._fail(module, LoadError("failed", said))
            return
        if found["outcome"] == "failed":
            module.fail_json(msg=found["reason"], **{self.name: found})
        module.exit_json(changed=False, **{self.name: found})

    def _fail(self, module: AnsibleModule, error: LoadError) -> None:
        outcome = {"outcome": "failed", "reason": str(error), "error": asdict(error)}
        module.fail_json(msg=str(error), **{self.name: {**self.nothing, **outcome}})

    def _skip(self, module: AnsibleModule, reason: str) -> None:
        outcome = {"outcome": "skipped", "reason": reason}
        module.exit_json(changed=False, msg=reason, **{self.name: {**self.nothing, **outcome}})


def outcome(params: Mapping[str, Any], parsed: result.Measured | LoadError, raw: str) -> dict[str, Any]:
    """Return the part of a result that a run's output decides, and keep the output where that is asked for.

    Args:
        params: the module's parameters.
        parsed: what was measured, or why nothing was.
        raw: the whole output.

    Raises:
        OSError: the output cannot be kept.
    """
    if isinstance(parsed, LoadError):
        found: dict[str, Any] = {"outcome": "failed", "reason": str(parsed), "error": asdict(parsed)}
        histogram: dict[float, int] = {}
    else:
        found = {"outcome": "measured", "reason": "", "error": None, **parsed.to_dict()}
        histogram = parsed.histogram_ms
    if params["histogram"]:
        found |= {"histogram_ms": histogram, "raw": raw}
    kept = result.keep(params["raw_prefix"], {"output": ("txt", raw)}) if params["raw_prefix"] else {}
    return found | {"files": kept}
