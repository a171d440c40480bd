"""What ``flask_uwsgi_module`` and ``flask_uwsgi_callable`` may say: names and calls with literals, no other code."""

from __future__ import annotations

import ast
import re

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MOST = 500
_EXAMPLES = (
    "a name (app), a name in it (app.server), or a factory (create_app(), create_app('production', debug=False))"
)


def module_problem(value: object) -> str:
    """Return why a value cannot be ``flask_uwsgi_module``, with the remedy; an empty string where it can."""
    name, colon, expression = str(value).partition(":")
    if value == "" or (colon and _MODULE.fullmatch(name) and not _fault(expression)):
        return ""
    why = f", since {fault}" if colon and _MODULE.fullmatch(name) and (fault := _fault(expression)) else ""
    return (
        f"flask_uwsgi_module={value} is not valid{why}: set it to package.module: and {_EXAMPLES}; or empty it to use "
        "flask_uwsgi_wsgi_file"
    )


def callable_problem(value: object) -> str:
    """Return why a value cannot be ``flask_uwsgi_callable``, with the remedy; an empty string where it can."""
    if not (fault := _fault(str(value))):
        return ""
    return (
        f"flask_uwsgi_callable={value} is not valid, since {fault}: set it to the WSGI application in "
        f"flask_uwsgi_wsgi_file, as {_EXAMPLES}"
    )


def _fault(expression: str) -> str:
    """Return what an expression has that it may not; it stands in a generation and is evaluated there."""
    if len(expression) > _MOST or not expression.isprintable():
        return f"it is longer than {_MOST} characters or has one that is not printable"
    try:
        return _fault_of(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "it is no expression of Python"


def _fault_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return ""
    if isinstance(node, ast.Attribute):
        return _fault_of(node.value)
    if not isinstance(node, ast.Call):
        return f"`{ast.unparse(node)}` is neither a name nor a call"
    for keyword in node.keywords:
        if keyword.arg is None:
            return f"`**{ast.unparse(keyword.value)}` is no literal"
    for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
        try:
            ast.literal_eval(argument)
        except (ValueError, TypeError):
            return f"`{ast.unparse(argument)}` is no literal (a string, a number, True, None, or a list or dictionary)"
    return _fault_of(node.func)
