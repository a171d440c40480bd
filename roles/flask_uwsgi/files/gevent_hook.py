"""Watches how an instance loads and serves an application in gevent mode; uWSGI imports it only for the gevent check.

uWSGI 2.0.31 imports it (``--shared-import``) before ``gevent-early-monkey-patch``, and that before the application
(``core/uwsgi.c``: the python plugin's ``preinit_apps`` comes before the gevent plugin's). The worker loads the
application, or its master with ``flask_uwsgi_preload``. The hook writes to the instance's runtime directory:

- ``loaded.json``: the result of the imports, once a worker has the application;
- ``activity.json``: what blocked the hub and what waits, each time the file ``ask`` appears;
- ``stacks``: the stack of each thread of the process that gets SIGURG, even of one that holds the interpreter's lock,
  and of one that crashes; if its hub runs, ``activity.json`` as well.

Nothing imported above may import ``socket``, ``ssl`` or ``threading``: they would be patched too late.
"""

from __future__ import annotations

import _thread
import faulthandler
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, ModuleType
from typing import Any

_FOLDER = os.environ["RUNTIME_DIRECTORY"]
_STDLIB = os.path.dirname(os.__file__)  # noqa: PTH120
# Its entry.py is on the stack of everything that the application does while it is loaded.
_GENERATION = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
# These keep the originals on purpose.
_OURS = {"gevent", "greenlet", "zope", "uwsgidecorators", __name__}
_NOTABLE = {"ssl", "socket", "threading", "select", "selectors", "subprocess", "queue", "asyncio", "concurrent.futures"}
# What plugins/module_utils/gevent/processes.py judges.
_OF_PROCESSES = (
    "Barrier", "BoundedSemaphore", "Condition", "Event", "JoinableQueue", "Lock", "Manager", "Pipe", "Pool", "Queue",
    "RLock", "Semaphore", "SimpleQueue",
)  # fmt: skip
# Seconds after which a greenlet that does not yield counts as blocking the others.
_BLOCKING = 0.02
# Seconds that the hub has to answer.
_HUB_S = 0.5
_MOST = 40

Place = tuple[str, ...]


def foreign(file: str | None) -> bool:
    """Return whether a file belongs neither to Python, nor to gevent, nor to the generation, as this hook does."""
    if not file or file.startswith(("<", "/etc/python", f"{_GENERATION}/")):
        return False
    if "/site-packages/" in file:
        return file.partition("/site-packages/")[2].partition("/")[0].removesuffix(".py") not in _OURS
    return not file.startswith(f"{_STDLIB}/")


def stack(frame: FrameType | None) -> Place:
    """Return the frames of a stack as ``file:line function``, innermost first, without gevent's and ours."""
    places = []
    while frame:
        code = frame.f_code
        ours = code.co_filename == __file__ or "/site-packages/gevent/" in code.co_filename
        if not ours and not code.co_filename.startswith(("<", "src/gevent")):
            places.append(f"{code.co_filename}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return tuple(places[:_MOST])


def innermost(places: Iterable[str]) -> str:
    """Return the innermost place of a stack in the application or an installed package, else ``""``."""
    return next((place for place in places if foreign(place.rpartition(":")[0])), "")


def line_of(file: str, name: str) -> str:
    """Return where a module's file first defines a name, as ``file:line``; the file alone if that is not found."""
    made = re.compile(rf"\b{re.escape(name)}\b\s*(:[^=]*)?=[^=]|\bimport\b.*\b{re.escape(name)}\b")
    try:
        with open(file, encoding="utf-8", errors="replace") as source:  # noqa: PTH123
            return next((f"{file}:{number}" for number, text in enumerate(source, 1) if made.search(text)), file)
    except OSError:
        return file


class Counter:
    """Counts what happens at which places."""

    def __init__(self) -> None:
        self._found: dict[Any, int] = {}

    def add(self, key: Any) -> None:
        """Count one more; if there are too many places, later ones are left out."""
        if key in self._found or len(self._found) < _MOST * 5:
            self._found[key] = self._found.get(key, 0) + 1

    def rows(self, *names: str) -> list[dict[str, Any]]:
        """Return a dictionary for each place, most frequent first."""
        found = sorted(self._found.items(), key=lambda item: -item[1])[:_MOST]
        return [{**dict(zip(names, key)), "count": count} for key, count in found]


def before_patch() -> dict[str, ModuleType]:
    """Return the modules that were imported before this one and may have kept what is patched later."""
    return {
        name: module
        for name, module in list(sys.modules.items())
        if module is not None and (foreign(getattr(module, "__file__", None)) or name in _NOTABLE)
    }


def native_threads() -> list[dict[str, str]]:
    """Return the threads that already run; none of them will exist in a worker."""
    threading = sys.modules.get("threading")
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate() if threading else ():
        if thread is threading.main_thread():
            continue
        code = getattr(getattr(thread, "_target", None), "__code__", None)
        place = f"{code.co_filename}:{code.co_firstlineno}" if code and foreign(code.co_filename) else ""
        found.append({"name": thread.name, "where": place or innermost(stack(frames.get(thread.ident)))})
    return found


class Early:
    """The unpatched objects that a module kept because it was imported too early."""

    def __init__(self, saved: dict[str, dict[str, Any]]) -> None:
        self._originals = {
            id(value): f"{module}.{name}"
            for module, names in saved.items()
            for name, value in names.items()
            if callable(value)
        }
        make_lock = saved.get("_thread", {}).get("allocate_lock")
        self._lock = type(make_lock()) if make_lock else None

    def look(self, name: str, module: ModuleType) -> dict[str, Any]:
        """Return its name, its file, and each kept object with the line that created it."""
        file = getattr(module, "__file__", None) or ""
        found: dict[str, Any] = {"module": name, "file": file, "originals": [], "locks": [], "pools": []}
        if not foreign(file):
            return found
        for key, value in list(vars(module).items()):
            where = None
            if id(value) in self._originals:
                found["originals"].append({"what": self._originals[id(value)], "where": line_of(file, key)})
            elif self._holds_lock(value):
                where = "locks"
            if type(value).__module__ == "concurrent.futures.thread" and getattr(value, "_threads", None):
                where = "pools"
            if where:
                found[where].append({"what": key, "where": line_of(file, key)})
        return found

    def _holds_lock(self, value: Any) -> bool:
        if isinstance(value, (ModuleType, type)) or self._lock is None:
            return False
        return any(isinstance(part, self._lock) for part in (value, *getattr(value, "__dict__", {}).values()))


class Watch:
    """Collects what to report about this process."""

    def __init__(self) -> None:
        self.early = before_patch()
        self.threads_before = native_threads()
        self.report: dict[str, Any] = {"early": []}
        self.warnings, self.patches = Counter(), Counter()
        self.locks, self.threads = Counter(), Counter()
        self.blocked, self.loops = Counter(), Counter()
        self.processes = Counter()
        self.loaded = False
        # When it was asked to report, if it has not yet done so.
        self.asked_at = 0.0

    def start(self) -> None:
        """Wait for the patch."""
        import gevent.monkey

        real = gevent.monkey.patch_all
        first = [True]

        def patch_all(*arguments: Any, **options: Any) -> Any:
            if not first.pop() if first else True:
                self.patches.add((innermost(stack(sys._getframe(1))),))
                return real(*arguments, **options)
            self._listen_to_warnings()
            done = real(*arguments, **options)
            self._patched(gevent.monkey.saved)
            return done

        # uWSGI looks it up by name when it patches.
        gevent.monkey.patch_all = patch_all

    def _listen_to_warnings(self) -> None:
        import warnings

        from gevent.monkey import MonkeyPatchWarning

        shown = warnings.showwarning

        def show(message: Any, category: type[Warning], *rest: Any, **options: Any) -> None:
            if issubclass(category, MonkeyPatchWarning):
                self.warnings.add((str(message), innermost(stack(sys._getframe(1)))))
            shown(message, category, *rest, **options)

        warnings.simplefilter("always", MonkeyPatchWarning)
        warnings.showwarning = show

    def _patched(self, saved: dict[str, dict[str, Any]]) -> None:
        """Examine what was imported too early, and record from now on what creates locks and threads."""
        import threading

        early = Early(saved)
        self.report["early"] = [early.look(name, module) for name, module in self.early.items()]
        self._note_calls(threading.Thread, "start", self.threads, "greenlet")
        self._note_processes()
        from gevent.thread import LockType

        self._note_calls(LockType, "__init__", self.locks, "greenlet")
        # Code that requests an original from gevent gets one: these block all greenlets.
        for module, name in (("_thread", "allocate_lock"), ("threading", "Lock"), ("threading", "RLock")):
            if name in saved.get(module, {}):
                saved[module][name] = self._noting(saved[module][name], self.locks)
        if "start_new_thread" in saved.get("_thread", {}):
            saved["_thread"]["start_new_thread"] = self._noting(saved["_thread"]["start_new_thread"], self.threads)
        import uwsgi
        import uwsgidecorators

        uwsgidecorators.postfork(self._forked)
        uwsgi.application_loaded = self._application_loaded

    def _note_processes(self) -> None:
        """Record uses of multiprocessing that do not yield."""
        import multiprocessing.context

        for name in _OF_PROCESSES:
            self._note_calls(multiprocessing.context.BaseContext, name, self.processes, name)
            # The package has already bound them.
            setattr(multiprocessing, name, getattr(multiprocessing.context._default_context, name))

    def _note_calls(self, owner: Any, name: str, counter: Counter, kind: str) -> None:
        real = getattr(owner, name)

        def noting(*arguments: Any, **options: Any) -> Any:
            caller = sys._getframe(1)
            # Each import creates its own lock.
            if "importlib" not in caller.f_code.co_filename and (place := innermost(stack(caller))):
                counter.add((kind, place))
            return real(*arguments, **options)

        setattr(owner, name, noting)

    def _noting(self, real: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
        def noting(*arguments: Any, **options: Any) -> Any:
            caller = sys._getframe(1)
            if foreign(caller.f_code.co_filename):
                counter.add(("native", innermost(stack(caller))))
            return real(*arguments, **options)

        return noting

    def _forked(self) -> None:
        """Make a crash of this worker leave its stack, and report what its master has loaded."""
        import uwsgi

        if uwsgi.worker_id() < 1:
            return
        # Only now, since uWSGI has set its own handlers in the meantime.
        faulthandler.enable(_STACKS, all_threads=False)
        if self.loaded:
            self._report_loaded()

    def _application_loaded(self) -> None:
        """Called by ``process.py`` when the application has been loaded, in the worker or before the fork."""
        import uwsgi

        self.loaded = True
        if uwsgi.worker_id() >= 1:
            self._report_loaded()

    def _report_loaded(self) -> None:
        """Report the result of the imports, and watch this worker."""
        self.report |= {
            "pid": os.getpid(),
            "python": sys.version.split()[0],
            "gevent": sys.modules["gevent"].__version__,
            "path": [os.path.abspath(path) for path in sys.path],  # noqa: PTH100
            "warnings": self.warnings.rows("message", "where"),
            "patches": self.patches.rows("where"),
            "unpatched": sorted(unpatched()),
            "locks": self.locks.rows("kind", "where"),
            "threads": self.threads.rows("kind", "where"),
            "threads_before": self.threads_before,
            "processes": self.processes.rows("kind", "where"),
            **imported(),
        }
        if "asyncio" in sys.modules:
            self._note_calls(sys.modules["asyncio"].BaseEventLoop, "run_forever", self.loops, "loop")
        self._monitor()
        write("loaded.json", self.report)

    def _monitor(self) -> None:
        """Start a thread that sees what blocks the hub.

        gevent has one for that. It ends permanently if it first looks before the hub runs, as on a busy host (26.9,
        ``_monitor.py``: a greenlet that has not begun is false), and its reports read the frames of greenlets that run.
        """
        import gevent
        from gevent._tracer import GreenletTracer
        from gevent.monkey import get_original

        sleep = get_original("time", "sleep")
        # It records the switches of the thread in which it was created.
        hub, tracer = gevent.get_hub(), GreenletTracer()

        def watch() -> None:
            while True:
                sleep(_BLOCKING)
                if tracer.did_block_hub(hub):
                    self._note_blocking(hub)
                self._report_when_asked(hub)

        get_original("_thread", "start_new_thread")(watch, ())

    def _note_blocking(self, hub: Any) -> None:
        """Record the stack of a greenlet that does not yield."""
        interval = sys.getswitchinterval()
        # While its frames are read, the hub's thread must not continue in them.
        sys.setswitchinterval(1)
        try:
            self.blocked.add((stack(sys._current_frames().get(hub.thread_ident)),))
        finally:
            sys.setswitchinterval(interval)

    def _report_when_asked(self, hub: Any) -> None:
        """Have the hub report; if it does not get to that, this monitor thread reports what it knows."""
        try:
            os.unlink(os.path.join(_FOLDER, "ask"))  # noqa: PTH108, PTH118
        except OSError:
            if self.asked_at and time.monotonic() - self.asked_at > _HUB_S:
                self.asked_at = 0.0
                self._write(Counter())
            return
        self.asked_at = time.monotonic()
        hub.loop.run_callback_threadsafe(self.report_activity)

    def report_activity(self, *_: Any) -> None:
        """Report what has blocked the hub so far, and what waits now.

        It must be called in the hub's own thread: reading the frames of running greenlets can crash the process.
        """
        self.asked_at = 0.0
        waiting = Counter()
        for found in waiting_stacks():
            waiting.add((found,))
        self._write(waiting)

    def _write(self, waiting: Counter) -> None:
        write(
            "activity.json",
            {
                "blocked": self.blocked.rows("stack"),
                "waiting": waiting.rows("stack"),
                "loops": self.loops.rows("kind", "where"),
                "processes": self.processes.rows("kind", "where"),
                # A request may import as well.
                **imported(),
            },
        )


def waiting_stacks() -> Iterator[Place]:
    """Yield the stack of each greenlet that waits in code other than gevent's or Python's."""
    import gc

    from greenlet import greenlet

    for found in gc.get_objects():
        if isinstance(found, greenlet) and found.gr_frame and innermost(places := stack(found.gr_frame)):
            yield places


def unpatched() -> Iterator[str]:
    """Yield what gevent patched and something has restored."""
    from gevent.monkey import saved

    for name, originals in saved.items():
        module = sys.modules.get(name)
        for attribute, original in originals.items():
            if module and callable(original) and getattr(module, attribute, None) is original:
                yield f"{name}.{attribute}"


def imported() -> dict[str, Any]:
    """Return what has been imported so far: all modules by name, and the compiled ones."""
    return {"modules": sorted(sys.modules), "extensions": list(extensions())}


def extensions() -> Iterator[dict[str, str]]:
    """Yield the compiled modules that are neither Python's nor gevent's."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if foreign(file) and str(file).endswith(".so"):
            yield {"module": name, "file": str(file)}


def write(name: str, document: Any) -> None:
    """Write a document completely or not at all."""
    import json

    path = os.path.join(_FOLDER, name)  # noqa: PTH118
    # The hub and its monitor can write at the same time.
    partial = f"{path}.{_thread.get_ident()}.partial"
    with open(partial, "w", encoding="utf-8") as stream:  # noqa: PTH123
        json.dump(document, stream)
    os.rename(partial, path)  # noqa: PTH104


if "uwsgi" in sys.modules:
    _WATCH = Watch()
    signal.signal(signal.SIGURG, _WATCH.report_activity)
    # Open as long as the process lives: a signal writes to it.
    _STACKS = open(os.path.join(_FOLDER, "stacks"), "w", encoding="utf-8")  # noqa: PTH118, PTH123, SIM115
    faulthandler.register(signal.SIGURG, file=_STACKS, all_threads=True, chain=True)
    _WATCH.start()
