"""Only one module reads, with limits and as root, what the service's account can write."""

import ast
from collections.abc import Iterator

import pytest

from tests.support import ROOT

PLUGINS = ROOT / "plugins"
# The directories of the instances, and the names in them.
WRITABLE = {"runtime", "runtime_of", "check_runtime", "pidfile", "folder"}
TOUCHES = {
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "connect", "copyfile", "copy", "loads",
    "is_file", "is_dir", "is_socket", "exists", "stat", "chmod", "chown", "unlink", "symlink_to", "mkdir", "rename",
    "replace", "glob", "rglob",
}  # fmt: skip
# One knows root's own directory, one reads the others safely, one removes them all.
HELPERS = {"module_utils/host/runtime.py", "module_utils/host/untrusted.py", "module_utils/traffic/removal.py"}


def tainted(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(one, ast.Attribute) and one.attr in WRITABLE) or (isinstance(one, ast.Name) and one.id in names)
        for one in ast.walk(node)
    )


def by_helper(node: ast.Call) -> bool:
    """Return whether a call is one of the helpers' own."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in {"untrusted", "runtime", "trees"}


def touching(source: str) -> Iterator[int]:
    """Yield the lines that access a path of a runtime directory directly."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        names: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and tainted(node.value, names):
                names |= {one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or by_helper(node):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in TOUCHES and tainted(node, names):
                yield node.lineno


def asking(source: str) -> Iterator[int]:
    """Yield the lines that use a UNIX socket."""
    for node in ast.walk(ast.parse(source)):
        if (isinstance(node, ast.Attribute) and node.attr == "AF_UNIX") or (
            isinstance(node, ast.alias) and node.name == "AF_UNIX"
        ):
            yield node.lineno


def modules() -> list[str]:
    return sorted(str(path.relative_to(PLUGINS)) for path in PLUGINS.rglob("*.py"))


@pytest.mark.parametrize("name", [name for name in modules() if name not in HELPERS])
def test_nothing_else_accesses_what_the_account_can_write(name: str) -> None:
    source = (PLUGINS / name).read_text()
    lines = sorted({*touching(source), *asking(source)})
    # The gevent check removes the answer before, and asks with an empty file that it creates. HAProxy's directory of
    # sockets is root's.
    known = {"module_utils/gevent/instance.py": 2, "module_utils/balancer/runtime.py": 1}.get(name, 0)
    assert len(lines) == known, f"plugins/{name}: read these with untrusted.py: lines {lines}"


def test_only_the_helper_removes_directories() -> None:
    # Python's own fails at a depth of a thousand, and while another process keeps filling them.
    users = {name for name in modules() if "rmtree" in (PLUGINS / name).read_text()}
    assert users == {"module_utils/host/trees.py", "module_utils/wheelhouse/sandbox.py"}


@pytest.mark.parametrize(
    "body",
    [
        "return (layout.runtime / 'a.pid').read_text()",
        "path = layout.check_runtime / 'activity.json'\n    return path.open()",
        "return open(layout.pidfile)",
        "a = runtime.folder(layout, unit)\n    b = a / 'x.stats'\n    return b.read_bytes()",
        "return int(layout.pidfile.read_text())",
        "return json.loads((layout.runtime_of(kinds.RELIEF) / 'x').read_bytes())",
    ],
)
def test_direct_access_is_found(body: str) -> None:
    assert list(touching(f"def read(layout, unit):\n    {body}\n"))


def test_access_by_the_helpers_is_not_reported() -> None:
    assert not list(touching("def read(layout):\n    return untrusted.read(layout.pidfile)\n"))
    assert list(asking("import socket\nsocket.socket(socket.AF_UNIX)\n")) == [2]
    assert list(asking("from socket import AF_UNIX\n")) == [1]
