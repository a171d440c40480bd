"""Callback: the message of a failure as text, once."""

from __future__ import annotations

DOCUMENTATION = r"""
name: plain
type: stdout
short_description: Show the message of a failure once, as text
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Works like the callback P(ansible.builtin.default#callback) except for tasks that fail. For these, it shows the
    message as lines of text.
  - If the failure is Ansible's own, such as that of a template, it shows the innermost cause and its place.
  - If several hosts fail in the same way, or a later task repeats a message, the message is shown once.
  - With C(-v), each result is shown in full.
  - The result of a failed task with C(no_log) is never shown.
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
requirements:
  - set as stdout in configuration (C(stdout_callback = flaskops.uwsgi.plain))
"""

from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.foreign import printable

# Ansible's prefix for a failure before or after a module ran.
_ANSIBLE = "Task failed: "
# Keys that say nothing beyond a message, or are shown elsewhere.
_DULL = {
    "ansible_loop_var", "ansible_index_var", "changed", "delta", "deprecations", "diff", "end", "exception", "failed",
    "invocation", "item", "lost", "msg", "start", "stderr_lines", "stdout_lines", "unreachable", "warnings",
    # The message of a role's argument specs has what is wrong.
    "argument_errors", "argument_spec_data", "validate_args_context",
}  # fmt: skip
_ASSERTED = {"assertion", "evaluated_to"}
# Two identical shorter messages may be two failures.
_LONG = 60


class CallbackModule(Default):  # type: ignore[misc]
    """Shows failures; leaves everything else to the default callback."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "flaskops.uwsgi.plain"

    def __init__(self) -> None:
        super().__init__()
        # The messages shown so far, each with its task and host.
        self._shown: dict[tuple[str, ...], tuple[Any, str]] = {}

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show a task that failed."""
        document, task = part(result, "result"), part(result, "task")
        if self._left_to_default(document):
            super().v2_runner_on_failed(result, ignore_errors)
            return
        if task.loop and "results" in document:
            # Its items have already been shown.
            self._handle_warnings(document)
        else:
            self._show(result, f"fatal: [{self.host_label(result)}]: FAILED!")
        if ignore_errors:
            self._display.display("...ignoring", color=constants.COLOR_SKIP)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Show an item of a loop that failed."""
        document = part(result, "result")
        if self._left_to_default(document):
            super().v2_runner_item_on_failed(result)
        else:
            self._show(result, f"failed: [{self.host_label(result)}] (item={self._get_item_label(document)})")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Show an unreachable host."""
        if self._left_to_default(part(result, "result")):
            super().v2_runner_on_unreachable(result)
            return
        self._show(result, f"fatal: [{self.host_label(result)}]: UNREACHABLE!", color=constants.COLOR_UNREACHABLE)
        if getattr(part(result, "task"), "ignore_unreachable", False):
            self._display.display("...ignoring", color=constants.COLOR_SKIP)

    def _left_to_default(self, document: dict[str, Any]) -> bool:
        if "censored" in document:
            # Ansible's own output contains the message.
            document.pop("exception", None)
            return True
        message = document.get("msg")
        return self._display.verbosity > 0 or not isinstance(message, str) or not message.strip()

    def _show(self, result: Any, head: str, color: str = constants.COLOR_ERROR) -> None:
        document, task = part(result, "result"), part(result, "task")
        if self._last_task_banner != task._uuid:
            self._print_task_banner(task)
        self._handle_warnings(document)
        on_stderr = self.get_option("display_failed_stderr")
        lines = [printable(line) for line in str(document["msg"]).strip("\n").splitlines()]
        if lines[0].startswith(_ANSIBLE):
            lines[0] = lines[0].removeprefix(_ANSIBLE)
            if not document.get("unreachable"):
                lines = self._innermost() or lines
        text = "\n".join(lines)
        asserted = _ASSERTED if text != "Assertion failed" else set()
        rest = {
            name: value for name, value in document.items()
            if name not in _DULL | asserted and not name.startswith("_") and value not in ("", [], {}, None)
        }  # fmt: skip
        body = [f"    {line}" for line in lines]
        if rest:
            body += self._dump_results(rest).strip("\n").splitlines()
        host = str(part(result, "host").get_name())
        head, body = self._without_repeats(head, body, task._uuid, host)
        self._display.display("\n".join(line.rstrip() for line in (head, *body)), color=color, stderr=on_stderr)

    def _innermost(self) -> list[str]:
        """Return the last cause of an error in Ansible itself, with its place in the playbook or the variables."""
        event = getattr(getattr(self._current_task_result, "exception", None), "event", None)
        while chain := getattr(event, "chain", None):
            event = chain.event
        message, place = (getattr(event, name, None) or "" for name in ("msg", "formatted_source_context"))
        return [printable(line) for line in f"{message}\n{place}".strip().splitlines()] if message else []

    def _without_repeats(self, head: str, body: list[str], task: Any, host: str) -> tuple[str, list[str]]:
        """Return head and body of a failure without what has already been shown."""
        shown = tuple(body)
        by, where = self._shown.get(shown, (None, ""))
        long = sum(map(len, shown)) > _LONG
        self._shown[shown] = (task, host)
        if body and by and (by == task or long):
            return f"{head} As {'above' if by != task or where == host else f'on {where}'}.", []
        # A task that rescues another one may repeat its message with an addition.
        begun = next((one for one in self._shown if len(one) < len(shown) and shown[: len(one)] == one), ())
        if sum(map(len, begun)) > _LONG:
            return f"{head} As above.", body[len(begun) :]
        return head, body


def part(result: Any, name: str) -> Any:
    """Return a part of a task's result; it has another name before ansible-core 2.19."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, f"_{name}")
