"""Checks and writes the values of settings that map names to texts; no message shows a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

# In the generation; the application finds them in $FLASK_UWSGI_FILES.
FOLDER = "files"
FILES = "FLASK_UWSGI_FILES"
# For all files together: they are a module's argument, stored once per generation, with a slow checksum each.
MOST_KB = 1024
MOST_FILES = 32
# systemd sets these folders, and some differ for each kind of unit.
FOLDERS = (
    FILES, "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY",
)  # fmt: skip
_PLACE = re.compile(r"\$(?:\{(\w+)\}|(\w+))(?:/([^\s:;,?&#'\"]+))?")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}")
_MOST_NAME = 200


def kind(value: Any) -> str:
    """Return the YAML type of a value that is not text; an empty string for a string or a number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, (list, tuple, set)):
        return "a list"
    # Ansible's own types, such as that of a date, begin with an underscore and have Python's below them.
    own = next(of.__name__ for of in type(value).__mro__ if not of.__name__.startswith("_"))
    return "" if isinstance(value, (str, int, float)) else f"a {own}"


def written(value: Any) -> str:
    """Return a value as it is written in an environment variable or an ini key: booleans as in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expanded(environment: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the variables whose values contain folders that only a process knows, with the names of these folders."""
    found = {str(name): sorted({folder for folder, _ in _folders(value)}) for name, value in environment.items()}
    return {name: folders for name, folders in sorted(found.items()) if folders}


def _folders(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the folders in a value, each with the path below it."""
    for match in _PLACE.finditer(str(value)):
        if (name := match[1] or match[2]) in FOLDERS:
            yield name, match[3] or ""


def application_files(given: Mapping[str, Any]) -> dict[str, str]:
    """Return ``flask_uwsgi_files`` as files of a generation: relative name to content."""
    return {f"{FOLDER}/{name}": str(text) for name, text in given.items()}


def environment_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of ``flask_uwsgi_environment``.

    Args:
        s: the role's variables without their prefix; its dictionaries have been checked.
    """
    for name, value in s["environment"].items():
        known = f"flask_uwsgi_environment has {name!r}, whose value"
        if (what := kind(value)) and what != "a boolean":
            yield f"{known} is {what}, and a variable is text: {_remedy(what)}"
        elif "\0" in str(value):
            yield f"{known} contains a null byte, which no environment variable can: remove it"
        elif name in FOLDERS:
            yield f"flask_uwsgi_environment has {name!r}, which systemd sets to a folder: remove or rename it"
        for folder, path in _folders(value) if not what else ():
            if folder == "CREDENTIALS_DIRECTORY" and not s["secrets"]:
                yield f"{known} uses $CREDENTIALS_DIRECTORY, but flask_uwsgi_secrets is empty: add the secret there"
            if folder == FILES and path.rstrip("/") not in _names(s["files"]):
                yield f"{known} uses ${FILES}/{path}, which is not in flask_uwsgi_files: add it there"


def _names(files: Any) -> set[str]:
    """Return the names of the files and of their folders."""
    names = [PurePosixPath(str(name)) for name in files] if isinstance(files, Mapping) else []
    return {"", *(str(part) for name in names for part in (name, *name.parents))}


def _remedy(what: str) -> str:
    return {
        "null": "set it, or remove the entry",
        "a list": "write it as the application reads it, such as a,b",
        "a dictionary": "write it as the application reads it, such as JSON in quotes",
    }.get(what, "put it in quotes")


def entry_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of ``flask_uwsgi_extra_ini`` and ``flask_uwsgi_unit_overrides``.

    Args:
        s: the role's variables without their prefix; what is not a dictionary is skipped.
    """
    for name, of in (("extra_ini", "a key of uwsgi.ini"), ("unit_overrides", "a systemd directive")):
        for key, value in s[name].items() if isinstance(s[name], Mapping) else ():
            for item in value if isinstance(value, list) else [value]:
                what = kind(item)
                if what and what != "a boolean":
                    yield (
                        f"flask_uwsgi_{name} has {key}={value}, which is not valid: {of} is a string, a number, a "
                        "boolean, or a list of these"
                    )
                    break
                if "\n" in str(item).rstrip("\n") or "\0" in str(item):
                    yield (
                        f"flask_uwsgi_{name} has {key!r}, whose value contains a line break or a null byte: {of} has "
                        "one line; write a list for one that repeats"
                    )
                    break


def file_problems(given: Any) -> Iterator[str]:
    """Yield what is wrong with ``flask_uwsgi_files``; a text is never shown."""
    if not isinstance(given, Mapping):
        yield "flask_uwsgi_files, whose value is not shown, is not valid: set it to a dictionary of names and texts"
        return
    names = {str(name) for name in given}
    for name, text in given.items():
        known = f"flask_uwsgi_files has {name!r}"
        if not _FILE.fullmatch(str(name)) or len(str(name)) > _MOST_NAME:
            yield (
                f"{known}, which is not a valid file name: use up to {_MOST_NAME} characters of A-Z, a-z, 0-9, ., _ "
                "and -, with folders before it (conf.d/a.ini), and none that begins with a dot"
            )
        elif parent := next((str(up) for up in PurePosixPath(str(name)).parents if str(up) in names), None):
            yield f"{known} and {parent!r}, which cannot be both a file and a folder: rename one of them"
        if what := kind(text):
            remedy = "put it in quotes" if what == "a boolean" else _FILE_REMEDIES.get(what, "put it in quotes")
            yield f"{known}, whose value is {what}, and a file is text: {remedy}"
        elif "\0" in str(text):
            yield f"{known}, whose text contains a null byte: ship binary files with flask_uwsgi_source"
    if len(given) > MOST_FILES:
        yield (
            f"flask_uwsgi_files has {len(given)} files, but only {MOST_FILES} are allowed: ship the others with "
            "flask_uwsgi_source"
        )
    size = sum(len(str(text).encode(errors="replace")) for text in given.values())
    if size > MOST_KB * 1024:
        yield (
            f"flask_uwsgi_files need {-(-size // 1024)} kB, but only {MOST_KB} are allowed: ship large files with "
            "flask_uwsgi_source"
        )


_FILE_REMEDIES = {
    "null": "set it, or remove the entry",
    "a list": "join its lines, for instance with the filter join('\\n')",
    "a dictionary": "write it in the file's own language, for instance with the filter to_nice_yaml or to_nice_json",
}
