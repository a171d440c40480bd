"""Callback: a deploy on one screen."""

from __future__ import annotations

DOCUMENTATION = r"""
name: screen
type: stdout
short_description: Show a deploy on one screen
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Shows a line for each phase of a deploy (plan, reserve, prepare, prove, activate, report) with its seconds, and
    below it the output of the phase, such as the plan. With batches, the line shows how many hosts are done.
  - Shows a line for each play of another playbook, and the messages of its C(debug) tasks unchanged. A message of
    several hosts is shown once.
  - Does not show tasks that succeed. With C(--check) or C(--diff), shows each task that changes something, and its
    difference.
  - Shows each failure once, in full, its cause first, like P(flaskops.uwsgi.plain#callback). Never shows the
    result of a task with C(no_log).
  - On a terminal, the last line shows the running task, and for how long it runs. Without a terminal, or if C(TERM) is
    C(dumb), there is no such line.
  - With C(-v), the output is that of P(ansible.builtin.default#callback).
notes:
  - Without C(-v), only O(display_failed_stderr), O(show_task_path_on_failure), O(result_format) and O(pretty_results)
    have an effect.
  - C(NO_COLOR) and C(ANSIBLE_NOCOLOR) disable colors. There are none without a terminal.
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
requirements:
  - set as stdout in configuration (C(stdout_callback = flaskops.uwsgi.screen))
"""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ansible import constants, context
from ansible.playbook.task_include import TaskInclude
from ansible_collections.flaskops.uwsgi.plugins.callback.plain import CallbackModule as Plain
from ansible_collections.flaskops.uwsgi.plugins.callback.plain import part
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.foreign import printable
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.hosts import named
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.live import Live, minutes

# The phase of a task of the role, by its file or the file that includes it, in the order in which they run.
_PHASES = {
    "plan": "plan",
    "again": "plan",
    "clear": "reserve",
    "reserve": "reserve",
    "build": "prepare",
    "prepare": "prepare",
    "prove": "prove",
    "activate": "activate",
    "report": "report",
}
# Where a deploy enters the role.
_ENTRIES = ("main", "ready", "activate", "report")
_ORDER = list(dict.fromkeys(_PHASES.values()))
_ROLE = ("flask_uwsgi", "tasks")
_UNORDERED = ("free", "host_pinned")
# It takes no time, and people need not know of it.
_QUIET = "set_fact"
# The number of hosts to list by name.
_NAMED = 3


@dataclass
class _Section:
    """A section of the output: a phase, or a play."""

    title: str
    phase: bool
    began: float = field(default_factory=time.monotonic)
    worked: bool = False
    # Whether the title of a play was shown.
    entitled: bool = False
    failed: bool = False
    # For each text and task, the hosts that show it; None if one shows it for all.
    held: dict[tuple[str, str], list[str] | None] = field(default_factory=dict)


@dataclass
class _Batch:
    """The hosts that a play runs on at the same time."""

    play: str
    hosts: list[str]
    # The number of hosts in earlier batches, and in total.
    before: int
    total: int

    def progress(self, *, done: bool) -> str:
        """Return how many hosts are done, including this batch or not; empty if there is only one host."""
        if len(self.hosts) < self.total:
            return f"{self.before + len(self.hosts) * done} of {self.total} hosts"
        return f"{self.total} hosts" if self.total > 1 else ""


def _unless_verbose(method: Callable[..., None]) -> Callable[..., None]:
    """With -v, leave an event to Ansible's own callback."""

    @functools.wraps(method)
    def chosen(self: CallbackModule, *args: Any, **options: Any) -> None:
        if self._display.verbosity:
            getattr(super(CallbackModule, self), method.__name__)(*args, **options)
        else:
            method(self, *args, **options)

    return chosen


class CallbackModule(Plain):
    """Shows phases and plays, their messages, and failures."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "flaskops.uwsgi.screen"

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._live: Live | None = None
        self._batch = _Batch("", [], 0, 0)
        self._section = _Section("", phase=False)
        self._task, self._task_began = "", 0.0
        # The section in which each host's task runs or has run.
        self._waiting: dict[tuple[str, str], str] = {}
        self._reached = {"localhost"}

    @_unless_verbose
    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Start the clock."""
        del playbook
        self._began = time.monotonic()
        self._live = Live(self._display)

    @_unless_verbose
    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Begin a play, or its next batch."""
        self._close()
        self._play = play
        self._last_task_name = None
        variables = play.get_variable_manager().get_vars(play=play, include_hostvars=False)
        hosts, everyone = variables["ansible_play_batch"], variables["ansible_play_hosts_all"]
        last = self._batch
        before = last.before + len(last.hosts) if last.play == play._uuid else 0
        self._batch = _Batch(play._uuid, hosts, before, max(len(everyone), before + len(hosts)))
        self._section = self._section_of_play()

    @_unless_verbose
    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Begin a task, and a phase if it is the first one of it."""
        del is_conditional
        self._begin_task(task)

    @_unless_verbose
    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Begin a handler."""
        self._begin_task(task)

    @_unless_verbose
    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Record that a host begins a task."""
        self._waiting[host.get_name(), task._uuid] = task.delegate_to or host.get_name()
        quiet = isinstance(task, TaskInclude) or task.action.rpartition(".")[2] == _QUIET
        if not (self._section.phase or self._section.entitled or quiet):
            self._section.worked = self._section.entitled = True
            self._say_title()
        self._show_live(task)

    @_unless_verbose
    def v2_runner_on_ok(self, result: Any) -> None:
        """Show a task's message, and with --check or --diff that it changes something."""
        self._end(result)
        task = part(result, "task")
        if isinstance(task, TaskInclude):
            return
        self._section.worked = True
        if _shows_change(result):
            self._show_held()
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings(part(result, "result"))
        if not task.loop:
            self._hold(result)

    @_unless_verbose
    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Show a loop item's message, and with --check or --diff that it changes something."""
        if isinstance(part(result, "task"), TaskInclude):
            return
        if _shows_change(result):
            self._show_held()
            super().v2_runner_item_on_ok(result)
            return
        self._handle_warnings(part(result, "result"))
        self._hold(result)

    @_unless_verbose
    def v2_runner_on_skipped(self, result: Any) -> None:
        """Show only the warnings of a skipped task."""
        self._end(result)
        self._handle_warnings(part(result, "result"))

    @_unless_verbose
    def v2_runner_item_on_skipped(self, result: Any) -> None:
        """Show only the warnings of a skipped item."""
        self._handle_warnings(part(result, "result"))

    @_unless_verbose
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Show a task that failed."""
        self._end(result)
        self._begin_failure(ignored=ignore_errors)
        super().v2_runner_on_failed(result, ignore_errors)

    @_unless_verbose
    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Show an item of a loop that failed."""
        # Whether the failure is ignored is only known once the task has ended.
        self._begin_failure(ignored=True)
        super().v2_runner_item_on_failed(result)

    @_unless_verbose
    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Show an unreachable host."""
        self._end(result)
        self._begin_failure(ignored=bool(getattr(part(result, "task"), "ignore_unreachable", False)))
        super().v2_runner_on_unreachable(result)

    @_unless_verbose
    def v2_runner_retry(self, result: Any) -> None:
        """Show once that a task is retried; a final failure includes the number of attempts."""
        document = part(result, "result")
        if document.get("attempts") == 1:
            self._show_held()
            self._display.display(
                f"{_name(part(result, 'task'))}: [{self.host_label(result)}] tries again, up to "
                f"{document['retries'] - 1} times",
                color=constants.COLOR_DEBUG,
            )

    @_unless_verbose
    def v2_on_file_diff(self, result: Any) -> None:
        """Show a difference in full."""
        self._show_held()
        super().v2_on_file_diff(result)

    @_unless_verbose
    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Show nothing for an included file."""

    @_unless_verbose
    def v2_runner_on_async_poll(self, result: Any) -> None:
        """Show nothing for a running task."""

    @_unless_verbose
    def v2_runner_on_async_ok(self, result: Any) -> None:
        """Show nothing for an ended task; its result follows."""

    @_unless_verbose
    def v2_runner_on_async_failed(self, result: Any) -> None:
        """Show nothing for a failed task; its result follows."""

    @_unless_verbose
    def v2_playbook_on_no_hosts_remaining(self) -> None:
        """Show nothing; the last line names the hosts that failed."""

    @_unless_verbose
    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Show the outcome of the run, and how long it took."""
        self._close()
        of = {host: stats.summarize(host) for host in sorted(stats.processed)}
        lost = [host for host, count in of.items() if count["unreachable"]]
        failed = [host for host, count in of.items() if count["failures"] and host not in lost]
        changed = sum(count["changed"] > 0 for count in of.values())
        well = len(of) - len(lost) - len(failed)
        words = [
            f"failed: {named(failed, _NAMED)}" if failed else "",
            f"unreachable: {named(lost, _NAMED)}" if lost else "",
            f"{well} host{'s' * (well != 1)} ok",
            f"{changed} changed" if changed else "",
        ]
        checked = " (check mode)" if context.CLIARGS.get("check") else ""
        ended = "failed after" if failed or lost else "finished in"
        self._display.display(
            f"{ended} {minutes(time.monotonic() - self._began)}{checked}: {', '.join(filter(None, words))}",
            color=constants.COLOR_ERROR if failed or lost else constants.COLOR_OK,
        )

    def _print_task_banner(self, task: Any) -> None:
        if self._display.verbosity:
            super()._print_task_banner(task)
            return
        self._last_task_banner = task._uuid
        self._display.display(f"{self._section.title}: {_name(task)}", color=constants.COLOR_HIGHLIGHT)

    def _begin_task(self, task: Any) -> None:
        if not self._section.phase:
            self._show_held()
        section = self._section_of(task)
        if (section.title, section.phase) != (self._section.title, self._section.phase):
            self._close()
            self._section = section
        self._task, self._task_began = task._uuid, time.monotonic()
        self._show_live(None)

    def _section_of(self, task: Any) -> _Section:
        files = list(_files(task))
        if not files or files[-1] not in _ENTRIES:
            return self._section_of_play()
        phase = next((_PHASES[file] for file in reversed(files) if file in _PHASES), "")
        if not phase:
            return self._section
        if (
            self._section.phase
            and self._play.strategy.rpartition(".")[2] in _UNORDERED
            and _ORDER.index(phase) < _ORDER.index(self._section.title)
        ):
            # A host that is behind the others.
            return self._section
        return _Section(phase, phase=True)

    def _section_of_play(self) -> _Section:
        return _Section(printable(self._play.get_name().strip()), phase=False)

    def _close(self) -> None:
        if self._section.phase and self._section.worked:
            seconds = time.monotonic() - self._section.began
            words = [
                f"{self._section.title:<9}{seconds:7.1f} s",
                self._batch.progress(done=True),
                "failed" if self._section.failed else "",
            ]
            color = constants.COLOR_ERROR if self._section.failed else constants.COLOR_OK
            self._show_live(None)
            self._display.display("   ".join(filter(None, words)), color=color)
        self._show_held(titled=True)
        self._section = _Section("", phase=False)
        self._waiting.clear()
        self._show_live(None)

    def _say_title(self) -> None:
        words = [self._section.title, self._batch.progress(done=True)]
        self._display.display("   ".join(filter(None, words)), color=constants.COLOR_HIGHLIGHT)

    def _begin_failure(self, *, ignored: bool) -> None:
        self._section.worked = True
        self._section.failed |= not ignored
        self._show_held()

    def _hold(self, result: Any) -> None:
        """Keep the message of a debug task until all hosts with the same message are known."""
        document, task = part(result, "result"), part(result, "task")
        if task.action.rpartition(".")[2] != "debug" or "censored" in document:
            return
        host, message = str(part(result, "host").get_name()), document.get("msg")
        if not isinstance(message, str):
            self._clean_results(document, task.action)
            message = self._dump_results(document).strip("\n")
        hosts = self._section.held.setdefault((message, task._uuid), None if task.run_once else [])
        if hosts is not None and host not in hosts:
            hosts.append(host)

    def _show_held(self, *, titled: bool = False) -> None:
        section, held = self._section, self._section.held
        section.held = {}
        if held and section.phase and not titled:
            self._display.display(section.title, color=constants.COLOR_HIGHLIGHT)
        for (message, _), hosts in held.items():
            indent = "  " if section.phase else ""
            if hosts is not None and len(hosts) < len(self._batch.hosts):
                self._display.display(f"{indent}{named(hosts, _NAMED)}:")
                indent += "  "
            for line in message.splitlines():
                self._display.display(f"{indent}{printable(line, len(line))}".rstrip())

    def _end(self, result: Any) -> None:
        """Record that a task of a host has ended."""
        host, task, document = (part(result, name) for name in ("host", "task", "result"))
        where = self._waiting.pop((host.get_name(), task._uuid), None)
        if where and any(
            "invocation" in ran for ran in (document, *document.get("results", ())) if isinstance(ran, dict)
        ):
            self._reached.add(where)
        self._show_live(task)

    def _show_live(self, task: Any) -> None:
        """Show what is being waited for, if necessary."""
        if self._live is None:
            return
        waiting = [host for host, of in self._waiting if of == self._task]
        # Until a host is reached, ssh may ask on this line whether to trust it.
        calm = all(where in self._reached for where in self._waiting.values())
        if task is None or not waiting or not calm or task.action.rpartition(".")[2] == "pause":
            self._live.show("")
            return
        everyone = len(self._batch.hosts)
        if everyone < self._batch.total:
            where = self._batch.progress(done=False)
        elif everyone == 1 or task.run_once:
            where = ""
        else:
            where = f"on {waiting[0]}" if len(waiting) == 1 else f"on {len(waiting)} of {everyone} hosts"
        self._live.show("  ".join(filter(None, (self._section.title, _name(task), where))), self._task_began)


def _shows_change(result: Any) -> bool:
    task = part(result, "task")
    return bool(part(result, "result").get("changed")) and bool(task.check_mode or task.diff)


def _name(task: Any) -> str:
    """Return the name of a task, without that of its role and without unresolved templates."""
    name = str(task.name or task.action).partition("{{")[0]
    return printable(name.partition(" : ")[2] or name).rstrip(" :")


def _path(node: Any) -> PurePath:
    """Return the file that contains a play, a block or a task."""
    return PurePath(str(node.get_path() or "").rpartition(":")[0])


def _files(task: Any) -> Iterator[str]:
    """Yield the names of the role's files that contain or include a task, innermost first."""
    while task is not None:
        path = _path(task)
        if path.parts[-3:-1] == _ROLE:
            yield path.stem
        task = getattr(task, "_parent", None)
