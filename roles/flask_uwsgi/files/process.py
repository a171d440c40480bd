"""Makes a process of uWSGI what Python code expects of one; ``entry.py`` loads it before the application.

uWSGI ends a worker without what Python does at the end of a program: in gevent mode it calls no exit function, in
threads mode it waits for threads that the application has started for as long as they run.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any

# Seconds that the application's threads get to end, and that anything gets.
_THREADS_S = 5.0
_LEAST_S = 1.0
_SHOWN = 10
_STDLIB = os.path.dirname(os.__file__)  # noqa: PTH120
_OWN = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


class LateError(BaseException):
    """What was to end has not, in the time that it had."""


def foreign(file: str) -> bool:
    """Tell whether a file is the application's or an installed package's."""
    ours = file.startswith(("<", f"{_OWN}/")) or "/site-packages/gevent/" in file
    return not ours and ("/site-packages/" in file or not file.startswith(f"{_STDLIB}/"))


def shown(file: str, line: int) -> str:
    """Return a place as people look it up: below the release it is told without the folder."""
    folder = os.getcwd()  # noqa: PTH109
    return f"{file.removeprefix(f'{folder}/')}:{line}"


def place(frame: FrameType | None) -> str:
    """Return the innermost place of a stack that is not Python's, else an empty text."""
    while frame:
        if foreign(frame.f_code.co_filename):
            return shown(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return ""


def thread_names(*, daemons: bool) -> list[str]:
    """Return the threads that run beside this one, each with the place where it is or begins.

    Args:
        daemons: whether to name those, too, that Python does not wait for.
    """
    threading = sys.modules.get("threading")
    frames = sys._current_frames()
    names = []
    for thread in threading.enumerate() if threading else ():
        # uWSGI's own threads are such that Python has not started.
        if thread in (threading.current_thread(), threading.main_thread()) or isinstance(
            thread, threading._DummyThread
        ):
            continue
        if daemons or not thread.daemon:
            code = getattr(getattr(thread, "_target", None) or type(thread).run, "__code__", None)
            begins = shown(code.co_filename, code.co_firstlineno) if _is_foreign(code) else ""
            names.append(_named(thread.name, begins or place(frames.get(thread.ident or 0))))
    return names


def _is_foreign(code: CodeType | None) -> bool:
    return code is not None and foreign(code.co_filename)


def _named(name: str, where: str) -> str:
    return f"{name} ({where})" if where else name


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise LateError in this thread after some seconds, and again after each further one."""
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
    """Ends a worker as Python ends a program, in bounded time.

    Args:
        stop_timeout: seconds that a worker has from when it is told to end.
    """

    def __init__(self, stop_timeout: float) -> None:
        self.stop_timeout = stop_timeout
        self._theirs: Any = None
        self._done = False

    def install(self) -> None:
        """Have uWSGI call this, and before it what the application may have set meanwhile."""
        import uwsgi

        if (found := getattr(uwsgi, "atexit", None)) is not self:
            self._theirs, uwsgi.atexit = found, self

    def __call__(self) -> None:
        """Wait for the application's threads, call its exit functions, and write what its files still hold."""
        if self._done:
            return
        self._done = True
        # The master repeats it to a worker without requests, which could have missed it.
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
        """Return the seconds until uWSGI cuts what has not ended, less one."""
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
        if names := thread_names(daemons=False):
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            say(
                f"does not wait longer than {seconds:.0f} s for threads that do not end: "
                f"{', '.join(names[:_SHOWN])}{more}. Make them daemons, or end them when the process does"
            )

    def _unraisable(self, told: Any) -> None:
        """Take what Python tells of an exit function that failed."""
        if told.exc_type is LateError:
            self._late_function(told.exc_traceback)
        else:
            sys.__unraisablehook__(told)

    def _late_function(self, traceback: TracebackType | None) -> None:
        where = ""
        while traceback:
            file = traceback.tb_frame.f_code.co_filename
            where = shown(file, traceback.tb_lineno) if foreign(file) else where
            traceback = traceback.tb_next
        # Python's own wait for threads, which tells of them by itself.
        if where:
            say(f"does not wait longer for an exit function: it is at {where}")


def say(what: str) -> None:
    """Write a line to the log, whatever the application has made of Python's streams."""
    import uwsgi

    os.write(2, f"[uwsgi-stop] worker {uwsgi.worker_id()} (pid: {os.getpid()}) {what}\n".encode(errors="replace"))


def flush_files() -> None:
    """Write what open files hold in memory, as Python does when it takes a program apart."""
    import gc
    import io

    # A text file hands its bytes on to a buffered one. By exact type: what pretends to be one is left alone.
    kinds: tuple[type[Any], ...] = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    objects = gc.get_objects()
    for kind in kinds:
        for found in objects:
            if type(found) is kind and not found.closed:
                try:
                    found.flush()
                except (OSError, ValueError):
                    continue


@contextmanager
def loading(*, stop_timeout: float, preload: bool) -> Iterator[None]:
    """Prepare this process for an application, which is loaded within.

    Args:
        stop_timeout: seconds that a worker has from when it is told to end.
        preload: whether this is the master, which forks what it has loaded.
    """
    import uwsgi

    if preload and "gevent.monkey" in sys.modules:
        from gevent.hub import reinit

        # Before what the application registers: the event loop of one that was loaded before the fork is its parent's.
        os.register_at_fork(after_in_child=reinit)
    end = End(stop_timeout)
    end.install()
    yield
    end.install()
    # The gevent check's hook asks to be told.
    getattr(uwsgi, "application_loaded", bool)()
