"""Makes a uWSGI process behave as Python code expects; ``entry.py`` loads it before the application.

uWSGI ends a worker without what Python does at the end of a program: in gevent mode it calls no exit functions, and in
threads mode it waits for the application's threads for as long as they run.
"""

from __future__ import annotations

import atexit
import faulthandler
import fcntl
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any

# Seconds that the application's threads have to end, and that anything else has.
_THREADS_S = 5.0
_LEAST_S = 1.0
_SHOWN = 10
# Seconds before systemd's timeout at which an unfinished load is reported, and that gevent's hub has to report it.
_BEFORE_S = 2.0
_HUB_S = 0.5
_STDLIB = os.path.dirname(os.__file__)  # noqa: PTH120
_OWN = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


class LateError(BaseException):
    """Something did not end within its time."""


class EntryError(Exception):
    """The application cannot be served with these variables."""


def foreign(file: str) -> bool:
    """Return whether a file is the application's or an installed package's."""
    ours = file.startswith(("<", "src/gevent", f"{_OWN}/")) or "/site-packages/gevent/" in file
    return not ours and ("/site-packages/" in file or not file.startswith(f"{_STDLIB}/"))


def shown(file: str, line: int) -> str:
    """Return a place as shown to people: without the folder of the release or of the package."""
    folder = os.getcwd()  # noqa: PTH109
    return f"{file.removeprefix(f'{folder}/').rpartition('/site-packages/')[2]}:{line}"


def place(frame: FrameType | None) -> str:
    """Return the innermost place of a stack in the application, else in a package, else an empty text."""
    package = ""
    while frame:
        file = frame.f_code.co_filename
        if foreign(file):
            if "/site-packages/" not in file:
                return shown(file, frame.f_lineno)
            package = package or shown(file, frame.f_lineno)
        frame = frame.f_back
    return package


def threads(*, daemons: bool) -> list[Any]:
    """Return the other threads that Python has started, which excludes uWSGI's own.

    Args:
        daemons: whether to include those that Python does not wait for.
    """
    threading = sys.modules.get("threading")
    return [
        thread
        for thread in (threading.enumerate() if threading else ())
        if thread not in (threading.current_thread(), threading.main_thread())
        and not isinstance(thread, threading._DummyThread)
        and (daemons or not thread.daemon)
    ]


def thread_name(thread: Any, started: str = "") -> str:
    """Return the name of a thread, with the line that started it; if that is unknown, where it begins or is."""
    code = getattr(getattr(thread, "_target", None) or type(thread).run, "__code__", None)
    begins = shown(code.co_filename, code.co_firstlineno) if _is_foreign(code) else ""
    return _named(thread.name, started or begins or place(sys._current_frames().get(thread.ident or 0)))


def _is_foreign(code: CodeType | None) -> bool:
    return code is not None and foreign(code.co_filename)


def _named(name: str, where: str) -> str:
    return f"{name} ({where})" if where else name


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise LateError in this thread after some seconds, and again after each further second."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_module_patched("threading"):
        import gevent

        timer = gevent.get_hub().loop.timer(seconds, 1.0)
        timer.start(gevent.getcurrent().throw, LateError)
        try:
            yield
        finally:
            timer.stop()
            timer.close()
        return

    def late(*_: Any) -> None:
        raise LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class End:
    """Ends a worker as Python ends a program, within a time limit.

    Args:
        stop_timeout: seconds that a worker has from when it is asked to end.
    """

    def __init__(self, stop_timeout: float) -> None:
        self.stop_timeout = stop_timeout
        self._theirs: Any = None
        self._done = False

    def install(self) -> None:
        """Have uWSGI call this, after any function that the application has set in the meantime."""
        import uwsgi

        if (found := getattr(uwsgi, "atexit", None)) is not self:
            self._theirs, uwsgi.atexit = found, self

    def __call__(self) -> None:
        """Wait for the application's threads, call its exit functions, and flush its files."""
        if self._done:
            return
        self._done = True
        # The master repeats the request to a worker without requests, which may have missed it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        shown_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            if self._theirs:
                with limit(self._left()):
                    self._theirs()
            self._wait_for_threads()
            with limit(self._left()):
                atexit._run_exitfuncs()
        except LateError as error:
            self._late_function(error.__traceback__)
        finally:
            sys.unraisablehook = shown_before
        flush_files()

    def _left(self) -> float:
        """Return the seconds until uWSGI cuts what has not ended, minus one."""
        import uwsgi

        began = getattr(uwsgi, "stop_began", 0)
        return max(_LEAST_S, self.stop_timeout - 1 - (time.time() - began if began else 0))

    def _wait_for_threads(self) -> None:
        threading = sys.modules.get("threading")
        if threading is None:
            return
        seconds = min(_THREADS_S, self._left())
        try:
            with limit(seconds):
                threading._shutdown()
        except LateError:
            pass
        if names := [thread_name(thread) for thread in threads(daemons=False)]:
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            say(
                f"does not wait longer than {seconds:.0f} s for threads that do not end: "
                f"{', '.join(names[:_SHOWN])}{more}. Make them daemons, or end them when the process does"
            )

    def _unraisable(self, report: Any) -> None:
        """Record Python's report of an exit function that failed."""
        if report.exc_type is LateError:
            self._late_function(report.exc_traceback)
        else:
            sys.__unraisablehook__(report)

    def _late_function(self, traceback: TracebackType | None) -> None:
        where = ""
        while traceback:
            file = traceback.tb_frame.f_code.co_filename
            where = shown(file, traceback.tb_lineno) if foreign(file) else where
            traceback = traceback.tb_next
        # This is Python's own wait for threads, which reports them itself.
        if where:
            say(f"does not wait longer for an exit function: it is at {where}")


@contextmanager
def watched(seconds: float) -> Iterator[None]:
    """Log where this thread is, as faulthandler does, if the context lasts longer than this.

    Args:
        seconds: seconds that it may last.
    """
    timer = None
    monkey = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_module_patched("threading"):
        import gevent

        # While a greenlet waits, faulthandler only sees the hub. No reference is kept: the hub ends if nothing waits.
        timer = gevent.get_hub().loop.timer(seconds, ref=False)
        timer.start(log_stack, gevent.getcurrent())
        seconds += _HUB_S
    # By number, since an application may have replaced Python's stream.
    faulthandler.dump_traceback_later(seconds, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if timer:
            timer.stop()
            timer.close()


def log_stack(greenlet: Any) -> None:
    """Log the stack of a waiting greenlet, and stop faulthandler from logging its own."""
    faulthandler.cancel_dump_traceback_later()
    frame = greenlet.gr_frame
    lines = ["Timeout!", "Greenlet (most recent call first):"]
    while frame:
        lines.append(f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}')
        frame = frame.f_back
    os.write(2, "".join(f"{line}\n" for line in lines).encode(errors="replace"))


@contextmanager
def fork_callbacks(*, preload: bool) -> Iterator[None]:
    """Run once what the application registers in the meantime for the child of a fork: a worker is one, of the master.

    Libraries (metrics, tracing, error reporting) learn from it that they are in a new process. Python's own
    callbacks are for what existed before the fork, and here there was nothing yet.

    Args:
        preload: whether workers are forked later, and Python itself runs them.
    """
    real = os.register_at_fork
    registered: list[Callable[[], object]] = []

    def register(**callbacks: Callable[[], object]) -> None:
        real(**callbacks)
        if "after_in_child" in callbacks and foreign(sys._getframe(1).f_code.co_filename):
            registered.append(callbacks["after_in_child"])

    if not preload:
        os.register_at_fork = register  # type: ignore[assignment]
    try:
        yield
    finally:
        os.register_at_fork = real
    for callback in registered:
        try:
            callback()
        except Exception:
            # Like Python: the error is reported, and the process continues.
            sys.excepthook(*sys.exc_info())


def say(what: str) -> None:
    """Write a line to the log, even if the application has replaced Python's streams."""
    import uwsgi

    os.write(2, f"[uwsgi-stop] worker {uwsgi.worker_id()} (pid: {os.getpid()}) {what}\n".encode(errors="replace"))


def flush_files() -> None:
    """Flush all open files, as Python does at the end of a program."""
    import gc
    import io

    # A text file passes its bytes to a buffered one. Only exact types are flushed, not imitations.
    kinds: tuple[type[Any], ...] = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    objects = gc.get_objects()
    for kind in kinds:
        for found in objects:
            if type(found) is kind and not found.closed:
                try:
                    found.flush()
                except (OSError, ValueError):
                    continue


class Fork:
    """Finds what an application has opened and started that its forked workers cannot share.

    Args:
        traced: whether to record the lines that open and start things, which costs time as long as the process lives.
    """

    def __init__(self, *, traced: bool) -> None:
        self.traced = traced
        self._before: dict[int, str] = {}
        # Where a file, by its path, and a socket were opened, and where a child was started.
        self._opened: dict[str, str] = {}
        self._sockets: list[tuple[Any, str]] = []
        self._started = ""
        self._begun: dict[int, str] = {}
        self._restore: Callable[[], None] = lambda: None
        # Where a descriptor was first seen.
        self._seen: dict[int, str] = {}
        self._over = False

    def begin(self) -> None:
        """Start recording what is opened."""
        self._before = descriptors()
        if self.traced:
            import threading

            sys.addaudithook(self._audit)
            start = threading.Thread.start

            def starting(thread: Any) -> None:
                self._begun[id(thread)] = place(sys._getframe(1))
                start(thread)

            threading.Thread.start = starting  # type: ignore[method-assign]
            self._restore = lambda: setattr(threading.Thread, "start", start)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._over:
            return
        if event == "open" and isinstance(arguments[0], str):
            self._opened.setdefault(os.path.abspath(arguments[0]), place(sys._getframe(1)))  # noqa: PTH100
        elif event == "sqlite3.connect":
            self._opened[os.path.abspath(os.fsdecode(arguments[0]))] = place(sys._getframe(1))  # noqa: PTH100
        elif event == "socket.connect":
            self._sockets.append((arguments[0], place(sys._getframe(1))))
        elif event in ("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"):
            self._started = place(sys._getframe(1))
        elif event == "import":
            # What was opened without Python's knowledge was opened before this line.
            for number in descriptors().keys() - self._before.keys() - self._seen.keys():
                self._seen[number] = place(sys._getframe(1))

    def found(self) -> list[str]:
        """Return descriptions of what is open or runs now but did not before, each with its place."""
        self._over = True
        self._restore()
        found = [
            f"the thread {thread_name(thread, self._begun.get(id(thread), ''))}" for thread in threads(daemons=True)
        ]
        found += self._children()
        connected = {one.fileno(): where for one, where in self._sockets if one.fileno() >= 0}
        for number, target in sorted(descriptors().items()):
            if self._before.get(number) == target or harmless(number, target):
                continue
            where = connected.get(number) or self._opened.get(target) or self._holder(number) or self._seen.get(number)
            found.append(_named(described(number, target), where or "by an unknown line"))
        return found

    def _children(self) -> Iterator[str]:
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208
            try:
                with open(f"/proc/self/task/{task}/children", encoding="ascii") as children:  # noqa: PTH123
                    pids = children.read().split()
            except OSError:
                continue
            yield from (_named(f"the child process {pid}", self._started) for pid in pids)

    @staticmethod
    def _holder(number: int) -> str:
        """Return where a module keeps the object of a descriptor, such as a connection that compiled code opened."""
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str) or not foreign(file) or "/site-packages/" in file:
                continue
            for name, value in list(vars(module).items()):
                if callable(getattr(type(value), "fileno", None)) and _number(value) == number:
                    return f"{name} in {shown(file, line_of(file, name))}"
        return ""


def _number(value: Any) -> int:
    try:
        return int(value.fileno())
    # A foreign method may raise anything.
    except Exception:
        return -1


def line_of(file: str, name: str) -> int:
    """Return the line where a module's file first assigns a name; 1 if that is not found."""
    try:
        with open(file, encoding="utf-8", errors="replace") as source:  # noqa: PTH123
            assigned = re.compile(rf"\s*{re.escape(name)}\b\s*(:[^=]*)?=[^=]")
            return next((number for number, text in enumerate(source, 1) if assigned.match(text)), 1)
    except OSError:
        return 1


def descriptors() -> dict[int, str]:
    """Return the open descriptors of this process, each with its target."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            # The descriptor that has read the folder.
            continue
    return found


def harmless(number: int, target: str) -> bool:
    """Return whether processes can share a descriptor: a device, a log that is appended to, a file that is mapped."""
    if target.startswith(("/dev/", "anon_inode:")):
        # An event loop's own; gevent's is recreated in a worker.
        return target.startswith("/dev/") or "gevent.monkey" in sys.modules
    if not target.startswith("/"):
        return False
    flags = fcntl.fcntl(number, fcntl.F_GETFL)
    if flags & os.O_APPEND:
        return True
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
        return flags & os.O_ACCMODE == os.O_RDONLY and any(line.rstrip().endswith(f" {target}") for line in maps)


def described(number: int, target: str) -> str:
    """Return a description of a descriptor."""
    if not target.startswith("socket:"):
        return f"the open file {target}" if target.startswith("/") else f"the descriptor {target}"
    # Uses the originals, since an application or gevent may have patched the module.
    import _socket

    connection = _socket.socket(fileno=os.dup(number))
    try:
        peer = connection.getpeername()
    except OSError:
        return "a socket"
    finally:
        connection.close()
    return "a connection to " + (f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "a process"))


@contextmanager
def loading(*, start_timeout: float, stop_timeout: float, preload: bool) -> Iterator[None]:
    """Prepare this process for an application, which is loaded within.

    Args:
        start_timeout: seconds after which systemd ends an instance that has not loaded it.
        stop_timeout: seconds that a worker has from when it is asked to end.
        preload: whether this is the master, which forks what it has loaded.
    """
    import uwsgi

    if preload and "gevent.monkey" in sys.modules:
        from gevent.hub import reinit

        # Before the application's own callbacks: the event loop of one that was loaded before the fork is its parent's.
        os.register_at_fork(after_in_child=reinit)
    end = End(stop_timeout)
    end.install()
    if os.environ.get("FLASK_UWSGI_ROLE") != "check":
        # A crash logs its place. In the check, the check's own hook does that.
        faulthandler.enable(file=2, all_threads=False)
    # The service has been tried as a canary.
    fork = Fork(traced=os.environ.get("FLASK_UWSGI_ROLE") != "service")
    if preload:
        fork.begin()
    with watched(max(start_timeout / 2, start_timeout - _BEFORE_S)), fork_callbacks(preload=preload):
        yield
    end.install()
    if preload and (found := fork.found()):
        raise EntryError(
            f"flask_uwsgi_preload=true: workers cannot share what the application has after loading: "
            f"{'; '.join(found[:_SHOWN])}{f'; and {len(found) - _SHOWN} more' if len(found) > _SHOWN else ''}. "
            "Open and start it in the worker (a function with @uwsgidecorators.postfork, or the first request), "
            "or set flask_uwsgi_preload=false, with which each worker loads the application"
        )
    # The gevent check's hook needs to know.
    getattr(uwsgi, "application_loaded", bool)()
