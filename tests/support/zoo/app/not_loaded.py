"""Fault: it cannot be loaded in gevent mode."""

from gevent.monkey import is_module_patched

if is_module_patched("threading"):
    raise RuntimeError("this application needs real threads")
