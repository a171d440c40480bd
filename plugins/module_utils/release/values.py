"""What settings that hold texts by name may have as values, and how these are written; no message shows one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

# In the generation, and of that what the application finds in $FLASK_UWSGI_FILES.
FOLDER = "files"
FILES = "FLASK_UWSGI_FILES"
# Of all files together; they are an argument of a module, and each generation has its own. Each has a slow checksum.
MOST_KB = 1024
MOST_FILES = 32
# systemd says which folders they are, and each kind of unit has its own of some.
FOLDERS = (
    FILES, "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY",
)  # fmt: skip
_PLACE = re.compile(r"\$(?:\{(\w+)\}|(\w+))(?:/([^\s:;,?&#'\"]+))?")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}")
_MOST_NAME = 200


def kind(value: Any) -> str:
    """Return what a value is that is no text, in words of YAML; an empty string for a string or a number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, Mapping):
        return "a dictionary"
    if isinstance(value, list | tuple | set):
        return "a list"
    return "" if isinstance(value, str | int | float) else f"a {type(value).__name__}"


def written(value: Any) -> str:
    """Return a value as an environment variable or a key of an ini says it: booleans in YAML's own words."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def expanded(environment: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the variables whose values name folders that only a process knows, with the names of these folders."""
    found = {str(name): sorted({folder for folder, _ in _folders(value)}) for name, value in environment.items()}
    return {name: folders for name, folders in sorted(found.items()) if folders}


def _folders(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the folders that a value names, each with the path in it."""
    for match in _PLACE.finditer(str(value)):
        if (name := match[1] or match[2]) in FOLDERS:
            yield name, match[3] or ""


def application_files(given: Mapping[str, Any]) -> dict[str, str]:
    """Return ``flask_uwsgi_files`` as files of a generation: relative name to content."""
    return {f"{FOLDER}/{name}": str(text) for name, text in given.items()}


def environment_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the values of ``flask_uwsgi_environment``.

    Args:
        s: the role's variables without their prefix; its dictionaries are such.
    """
    for name, value in s["environment"].items():
        known = f"flask_uwsgi_environment has {name!r}, whose value"
        if (what := kind(value)) and what != "a boolean":
            yield f"{known} is {what}, and a variable is a text: {_remedy(what)}"
        elif "\0" in str(value):
            yield f"{known} has a null byte, which no environment variable can have: remove it"
        elif name in FOLDERS:
            yield f"flask_uwsgi_environment has {name!r}, which systemd sets to a folder: remove it, or rename it"
        for folder, path in _folders(value) if not what else ():
            if folder == "CREDENTIALS_DIRECTORY" and not s["secrets"]:
                yield f"{known} names $CREDENTIALS_DIRECTORY, and flask_uwsgi_secrets is empty: add the secret there"
            if folder == FILES and path.rstrip("/") not in _names(s["files"]):
                yield f"{known} names ${FILES}/{path}, which flask_uwsgi_files does not have: add it there"


def _names(files: Any) -> set[str]:
    """Return the files' names and those of their folders."""
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
        s: the role's variables without their prefix; what is no dictionary is passed over.
    """
    for name, of in (("extra_ini", "a key of uwsgi.ini"), ("unit_overrides", "a directive of systemd")):
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
                        f"flask_uwsgi_{name} has {key!r}, whose value has a line break or a null byte: {of} has "
                        "one line; write a list for one that repeats"
                    )
                    break


def file_problems(given: Any) -> Iterator[str]:
    """Yield what is wrong with ``flask_uwsgi_files``; of a text it shows nothing."""
    if not isinstance(given, Mapping):
        yield "flask_uwsgi_files, whose value is not shown, is not valid: set it to a dictionary of names and texts"
        return
    names = {str(name) for name in given}
    for name, text in given.items():
        known = f"flask_uwsgi_files has {name!r}"
        if not _FILE.fullmatch(str(name)) or len(str(name)) > _MOST_NAME:
            yield (
                f"{known}, which is no name of a file in it: use up to {_MOST_NAME} of A-Z, a-z, 0-9, ., _ and -, with "
                "folders before it (conf.d/a.ini), none of which begins with a dot"
            )
        elif parent := next((str(up) for up in PurePosixPath(str(name)).parents if str(up) in names), None):
            yield f"{known} and {parent!r}, which cannot be a file and a folder: rename one of them"
        if what := kind(text):
            remedy = "put it in quotes" if what == "a boolean" else _FILE_REMEDIES.get(what, "put it in quotes")
            yield f"{known}, whose value is {what}, and a file is a text: {remedy}"
        elif "\0" in str(text):
            yield f"{known}, whose text has a null byte: flask_uwsgi_files are texts; ship binary files with the source"
    if len(given) > MOST_FILES:
        yield (
            f"flask_uwsgi_files has {len(given)} files, and {MOST_FILES} are allowed: ship the others with "
            "flask_uwsgi_source"
        )
    size = sum(len(str(text).encode(errors="replace")) for text in given.values())
    if size > MOST_KB * 1024:
        yield (
            f"flask_uwsgi_files take {-(-size // 1024)} kB, and {MOST_KB} are allowed: ship large files with "
            "flask_uwsgi_source"
        )


_FILE_REMEDIES = {
    "null": "set it, or remove the entry",
    "a list": "join its lines, for instance with the filter join('\\n')",
    "a dictionary": "write it in the file's own language, for instance with the filter to_nice_yaml or to_nice_json",
}
