"""Separates failures that gevent certainly does not cause from those that it may."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..host.journal import Said
from ..release.manifest import Manifest
from . import deaths, remedies
from .explain import cause, ended_itself, entry_of, said
from .tracebacks import parse

# Failures that no patch of the standard library can cause.
_KINDS = {"EntryError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError", "TabError"}
# gevent takes some names out of these, such as select.epoll.
_OF_PATCHED = re.compile(
    r"from '(_thread|asyncio|os|queue|select|selectors|signal|socket|ssl|subprocess|threading|time)'"
)
_REPEATED = re.compile(r"\s*\[Previous line repeated \d+ more times\]")
# A crash in compiled code, memory and the number of threads may be due to gevent.
_PERHAPS = re.compile(r"a process was ended by |the kernel killed |the service has as many |the host allows ")


def in_either_mode(
    lines: Iterable[Said | str], manifest: Manifest, unit: Mapping[str, str], root: str, *, loading: bool
) -> bool:
    """Return whether an application that fails in gevent mode would fail in threads mode for the same reason.

    Args:
        lines: what the instance logged.
        manifest: the generation that failed.
        unit: the unit's properties listed in ``deaths.PROPERTIES``.
        root: the application's directory on the host.
        loading: whether it failed while loading, rather than during a request.
    """
    log = said(lines)
    if death := deaths.explain([line.text for line in log], unit, root):
        return not _PERHAPS.match(death)
    found = cause(parse(log))
    if found is None and loading and ended_itself(log, entry_of(manifest)):
        return True
    if found is None or found.loading != loading:
        return False
    if found.last.kind in _KINDS:
        return True
    if found.last.kind == "RecursionError":
        # gevent's own, such as that of an ssl imported too early, passes through libraries.
        inner = found.last.frames[-1:]
        return any(not one.library and any(map(_REPEATED.match, one.lines)) for one in inner)
    if found.last.kind == "ImportError":
        return not _OF_PATCHED.search(found.last.text)
    return not remedies.explain(found, manifest).endswith(remedies.MEND)
