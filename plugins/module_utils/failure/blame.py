"""Tells failures that are surely not gevent's from those that may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..host.journal import Said
from ..release.manifest import Manifest
from . import deaths, remedies
from .explain import cause, ended_itself, entry_of, said
from .tracebacks import parse

# What no replacement of the standard library brings about.
_KINDS = {"EntryError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError", "TabError"}
# gevent takes some names out of these, such as select.epoll.
_OF_PATCHED = re.compile(
    r"from '(_thread|asyncio|os|queue|select|selectors|signal|socket|ssl|subprocess|threading|time)'"
)
_REPEATED = re.compile(r"\s*\[Previous line repeated \d+ more times\]")
# A crash in compiled code, memory and the number of threads may be due to it.
_PERHAPS = re.compile(r"a process was ended by |the kernel killed |the service has as many |the host lets ")


def in_either_mode(
    lines: Iterable[Said | str], manifest: Manifest, unit: Mapping[str, str], root: str, *, loading: bool
) -> bool:
    """Return whether an application that fails in gevent mode surely fails in threads mode, too, for the same reason.

    Args:
        lines: what the instance logged.
        manifest: the generation that failed.
        unit: the properties of the unit that ``deaths.PROPERTIES`` names.
        root: the application's directory on the host.
        loading: whether it failed to be loaded, rather than at a request.
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
        # gevent's own, as of an ssl that was imported too early, goes through libraries.
        inner = found.last.frames[-1:]
        return any(not one.library and any(map(_REPEATED.match, one.lines)) for one in inner)
    if found.last.kind == "ImportError":
        return not _OF_PATCHED.search(found.last.text)
    return not remedies.told(found, manifest).endswith(remedies.MEND)
