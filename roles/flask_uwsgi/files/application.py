"""Finds a WSGI application by an expression, and rejects anything else; a generation's ``entry.py`` loads it."""

from __future__ import annotations

import ast
import inspect
from typing import Any

_ASGI = (
    "uWSGI serves WSGI. Serve it with an ASGI server such as uvicorn or hypercorn instead, or have the package a2wsgi "
    "make it a WSGI application, `wsgi = a2wsgi.ASGIMiddleware(app)`, and name that one"
)


class UnfitError(Exception):
    """What the operator named does not exist or is not a WSGI application; the message follows its name."""


def find(module: Any, expression: str) -> Any:
    """Return the value of an expression in a module.

    Args:
        module: the module.
        expression: names with dots, and calls whose arguments are literals: ``create_app("production").server``.

    Raises:
        UnfitError: a name does not exist, or the call does not fit.
    """
    return _found(module, ast.parse(expression, mode="eval").body)


def _found(module: Any, node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        called = _found(module, node.func)
        arguments = [ast.literal_eval(one) for one in node.args]
        named = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords}
        try:
            return called(*arguments, **named)
        except TypeError as error:
            # The call itself failed, not something deeper.
            if error.__traceback__ and error.__traceback__.tb_next is None:
                hint = 'a factory, and its arguments as literals where it needs any: create_app("production")'
                raise UnfitError(f": {error}. Name {hint}") from None
            raise
    if isinstance(node, ast.Attribute):
        owner, name = _found(module, node.value), node.attr
    elif isinstance(node, ast.Name):
        owner, name = module, node.id
    else:
        raise UnfitError(": no name, and no call with literals")
    try:
        return getattr(owner, name)
    except AttributeError:
        inside = "it" if owner is module else type(owner).__name__
        raise UnfitError(f": {inside} has no {name}. Name one that it has") from None


def fault(application: Any) -> str:
    """Return why something is not a WSGI application, and what to name instead; an empty string if it may be one."""
    kind = type(application)
    if _is_asgi(application):
        plain = inspect.isroutine(application) or inspect.isclass(application)
        name = "" if plain else f" ({kind.__module__}.{kind.__name__})"
        return f" is an ASGI application{name}: {_ASGI}"
    if not callable(application):
        return f" is {kind.__name__}, which cannot be called. Name the WSGI application"
    if inspect.isclass(application):
        # By PEP 3333, a class whose instances are the responses is an application.
        if hasattr(application, "__iter__") and _takes(application, 2) is not False:
            return ""
        return " is a class. Name an instance of it, such as app of `app = " + f"{application.__name__}(…)`"
    if _is_factory(application):
        return f" is a function that makes one, it seems. Call it: {application.__name__}()"
    if _takes(application, 2) is False:
        shown = f"{getattr(application, '__name__', kind.__name__)}{_signature(application)}"
        return f" takes other arguments than WSGI's (environ, start_response): {shown}. Name the WSGI application"
    return ""


def _signature(found: Any) -> inspect.Signature | None:
    try:
        # A decorator may have turned something else into a WSGI application.
        return inspect.signature(found, follow_wrapped=False)
    except (TypeError, ValueError):
        # Compiled code has none.
        return None


def _takes(found: Any, count: int) -> bool | None:
    """Return whether something can be called with this many arguments; None if unknown."""
    signature = _signature(found)
    if signature is None:
        return None
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _positional(found: Any) -> list[inspect.Parameter]:
    signature = _signature(found)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one for one in signature.parameters.values() if one.kind in kinds] if signature else []


def _is_factory(found: Any) -> bool:
    """Return whether a function needs no arguments: WSGI's arguments have no defaults."""
    signature = _signature(found)
    if not inspect.isfunction(found) or signature is None or _takes(found, 0) is False:
        return False
    # One that accepts any arguments may be a wrapper.
    anything = any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values())
    return not anything and [one.name for one in _positional(found)][:1] != ["environ"]


def _is_asgi(found: Any) -> bool:
    if inspect.isclass(found):
        # ASGI 2 creates an instance for each connection, which is then awaited.
        awaited = inspect.iscoroutinefunction(found.__call__)
        return awaited and [one.name for one in _positional(found)] == ["scope"]
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(
        type(found).__call__ if callable(found) else None
    ):
        return True
    return [one.name for one in _positional(found)] in (["scope", "receive", "send"], ["scope"])
