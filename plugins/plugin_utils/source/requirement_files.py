"""Reads an application's requirements on the controller, without running anything.

The operator's own configuration of uv determines where packages come from. A file of the application that names
another place is refused: the registry may have a different package of that name. Other options of such files, such as
what to build, are ignored and listed.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils.release.artifact import ArtifactError, masked

# Bytes and files; a lock of a thousand packages has one megabyte.
_MOST = 2**23
_FILES = 100
_INCLUDE = re.compile(r"(?P<option>-r|-c|--requirement|--constraint)(?:\s+|=|(?<=-[rc]))(?P<name>\S+)")
_EDITABLE = re.compile(r"(-e|--editable)\b|(-e(?=\S))")
# The folder of the source itself, with extras, as passed to `pip install`.
_ITSELF = re.compile(
    r"(?:(?:-e|--editable)(?:\s*=\s*|\s*))?(?P<quote>[\"']?)\.(?:/\.?)?(?P<extras>\[[\w\s.,-]*\])?(?P=quote)"
)
# Options that set where packages come from.
_PLACES = re.compile(
    r"(?P<option>--index-url|--pypi-url|--extra-index-url|--find-links|--no-index|-i|-f)(?=\W|$|(?<=-[if]))(\s*=\s*|\s*)"
    r"(?P<address>\S*)"
)
_SETTINGS = ("index", "index-url", "extra-index-url", "find-links", "no-index", "default-index")
_OPERATORS = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_ELSEWHERE = (
    "Packages come from where uv of the controller and pip of the build host are configured to look. Set UV_INDEX (or "
    "UV_DEFAULT_INDEX) on the controller and /etc/pip.conf on the build host to that address; if the environment of "
    "the controller names it, the line is accepted. Or remove it"
)
# Longer byte order marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
# As pip reads it: in a comment of the first two lines (PEP 263).
_CODING = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


@dataclass
class Wanted:
    """Requirements and their constraints, one per entry, with their hashes.

    ``ignored`` lists the ignored options, ``inputs`` everything that was read. ``preferred`` are versions that are used
    if they fit, ``notes`` sentences for the operator. ``itself`` has the extras of the source's own project if the
    requirements name it. ``project`` is a file, relative to the source, whose requirements only a build can determine;
    empty for none.
    """

    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    preferred: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    itself: set[str] | None = None
    project: str = ""


def read(file: Path, inside: Path | None) -> Wanted:
    """Return the content of a requirements file and of the files that it includes.

    Args:
        file: the file.
        inside: the folder that nothing may lead out of; None for a file that the operator keeps elsewhere.

    Raises:
        ArtifactError: a file does not exist, is not a file, or leads out; a line is not a requirement of a release.
    """
    wanted = Wanted()
    _read(file, inside, wanted, wanted.requirements, set())
    wanted.ignored = list(dict.fromkeys(wanted.ignored))
    return wanted


def _read(file: Path, inside: Path | None, wanted: Wanted, target: list[str], seen: set[tuple[Path, bool]]) -> None:
    role = target is wanted.constraints
    if (file.resolve(), role) in seen:
        return
    seen.add((file.resolve(), role))
    if len(seen) > _FILES:
        raise ArtifactError(f"flask_uwsgi_requirements includes more than {_FILES} files: put them into fewer")
    content = text(file, inside)
    wanted.inputs.append(content)
    for number, line in _lines(content):
        if place := _PLACES.match(line):
            if not _known(place["option"], place["address"]):
                raise ArtifactError(
                    f"flask_uwsgi_requirements={file} has {_shown(line)!r} in line {number}, which does not "
                    f"count here. {_ELSEWHERE}"
                )
            wanted.ignored.append(f"{place['option']} of {file.name}")
        elif itself := inside and _ITSELF.fullmatch(line):
            extras = re.findall(r"[\w.-]+", itself["extras"] or "")
            wanted.itself = (wanted.itself or set()) | set(extras)
        elif include := _INCLUDE.match(line):
            if "://" in include["name"]:
                raise ArtifactError(
                    f"flask_uwsgi_requirements={file} includes {masked(include['name'])}, an address: download it "
                    "into the source, and include the file"
                )
            constrains = include["option"].lstrip("-")[0] == "c"
            inner = wanted.constraints if constrains or role else wanted.requirements
            _read(file.parent / include["name"], inside, wanted, inner, seen)
        elif line.startswith("-") and not _EDITABLE.match(line):
            wanted.ignored.append(f"{masked(re.split(r'[ =]', line)[0])} of {file.name}")
        else:
            requirement, options = _release(line, file)
            target.append(requirement)
            wanted.ignored += [f"{option} of {file.name}" for option in options]


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines with their numbers, continuation lines joined and comments dropped."""
    begun: list[str] = []
    for number, line in enumerate(content.splitlines(), 1):
        begun.append(line.removesuffix("\\"))
        if line.endswith("\\") and not re.match(r"\s*#", line):
            continue
        stripped = re.sub(r"(^|\s)#.*$", "", " ".join(begun)).strip()
        first, begun = number - len(begun) + 1, []
        if stripped:
            yield first, stripped
    if stripped := " ".join(begun).strip():
        yield len(content.splitlines()), stripped


def _known(option: str, address: str) -> bool:
    """Return whether the operator has configured uv for an address, or it is the default."""
    named = [os.environ.get(name, "") for name in _OPERATORS]
    addresses = {_bare(one.partition("=")[2] if re.match(r"\w+=", one) else one) for one in " ".join(named).split()}
    return option != "--no-index" and _bare(address) in addresses | _usual()


def _shown(text: str) -> str:
    """Return a line or an address for display, without possible secrets."""
    return re.sub(r"\?\S*", "?…", masked(text))[:200]


def _bare(address: str) -> str:
    return re.sub(r"//[^/\s]*@", "//", address).rstrip("/")


def _usual() -> set[str]:
    """Return pip's default address."""
    try:
        from pip._internal.models.index import PyPI  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return set()
    return {_bare(str(PyPI.simple_url))}


def _release(line: str, file: Path) -> tuple[str, list[str]]:
    """Return a line as a requirement with its hashes, and its other options."""
    head, *options = re.split(r"\s+--", line)
    hashes = [f" --{option.strip()}" for option in options if option.startswith("hash")]
    others = [f"--{re.split(r'[ =]', option)[0]}" for option in options if not option.startswith("hash")]
    insist_on_release(head.strip(), f"flask_uwsgi_requirements={file}")
    return head.strip() + "".join(hashes), others


def insist_on_release(text: str, variable: str) -> None:
    """Refuse anything but a requirement of a release of the registry.

    Args:
        text: the requirement, without hashes.
        variable: the variable and its value, for the message.

    Raises:
        ArtifactError: it is an address, a path, or cannot be parsed.
    """
    # Ansible needs it, so the controller has it; hosts may not.
    from packaging.requirements import InvalidRequirement, Requirement

    path = text.startswith((".", "/", "-e", "--editable", "~")) or text.endswith((".whl", ".tar.gz", ".zip"))
    try:
        address = path or "://" in text.partition(";")[0].partition("#")[0] or bool(Requirement(text).url)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise ArtifactError(
            f"{variable} cannot be locked: {masked(text)[:200]!r} is not a requirement ({why}): correct it"
        ) from error
    if address:
        raise ArtifactError(
            f"{variable} cannot be locked: {masked(text)[:200]!r} is not a release of the registry, which alone has a "
            "hash. Require a release; the source itself is `.`, and another folder of it needs flask_uwsgi_python_path "
            "and no line here"
        )


def text(file: Path, inside: Path | None) -> str:
    """Return the text of a file.

    Args:
        file: the file.
        inside: the folder that it must be in, after all links; None for any.

    Raises:
        ArtifactError: it does not exist, is not a file, leads out, is too large, or is not text.
    """
    if inside and not file.resolve().is_relative_to(inside.resolve()):
        raise ArtifactError(
            f"flask_uwsgi_requirements includes {file}, which is outside the source {inside}: put it into the source"
        )
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(_MOST + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except FileNotFoundError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements includes {file}, which does not exist on the controller: correct the -r or -c"
        ) from error
    except OSError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} cannot be read: {error.strerror}. Set it to a file"
        ) from error
    if content is None or len(content) > _MOST:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} is {'not a file' if content is None else 'larger than 8 MiB'}: set it "
            "to a requirements file or pyproject.toml"
        )
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", ""))
    if not encoding:
        found = [match[1].decode() for line in content.split(b"\n")[:2] if (match := _CODING.match(line))]
        encoding = found[0] if found and file.suffix not in (".toml", ".lock") else "utf-8"
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} is not {encoding.upper()} text (byte {error.start}): save it as UTF-8"
        ) from error
    except LookupError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} declares the encoding {encoding[:40]!r}, which Python does not know: "
            "save it as UTF-8"
        ) from error


def project(file: Path, inside: Path | None, extras: Iterable[str] = ()) -> Wanted:
    """Return what a pyproject.toml requires (PEP 621).

    Args:
        file: the pyproject.toml.
        inside: the folder that it must be in; None for any.
        extras: names of its optional dependencies to include.

    Raises:
        ArtifactError: it cannot be read, or requires something other than a release.
    """
    content = text(file, inside)
    document = toml(content, file)
    section = table(document, "project")
    wanted = Wanted(inputs=[content])
    dynamic = section.get("dynamic", ())
    if "project" not in document or "dependencies" in dynamic or (extras and "optional-dependencies" in dynamic):
        wanted.project = file.name
    uv = table(table(document, "tool"), "uv")
    wanted.ignored = [f"[tool.uv] of {file.name}"] if uv else []
    _insist_on_no_place(document, file)
    for dependency in _dependencies(section, file, () if wanted.project else extras):
        insist_on_release(dependency, f"flask_uwsgi_requirements={file}")
        _insist_on_no_source(dependency, uv, file)
        wanted.requirements.append(dependency)
    return wanted


def _dependencies(section: dict[str, Any], file: Path, extras: Iterable[str]) -> Iterator[str]:
    """Yield what a project requires, with extras; an extra that names another one of the project includes it."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    optional = {canonicalize_name(name): found for name, found in table(section, "optional-dependencies").items()}
    itself = canonicalize_name(str(section.get("name", "")))
    yield from _texts(section.get("dependencies", []), "project.dependencies", file)
    left, seen = [canonicalize_name(name) for name in extras], set()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in optional:
            raise ArtifactError(
                f"flask_uwsgi_requirements names the extra {name!r} of the source, which {file} does not have: correct "
                f"it (there are: {', '.join(sorted(optional)) or 'none'})"
            )
        for dependency in _texts(optional[name], f"project.optional-dependencies.{name}", file):
            try:
                parsed = Requirement(dependency)
            except InvalidRequirement:
                parsed = None
            if parsed and canonicalize_name(parsed.name) == itself:
                left += map(canonicalize_name, parsed.extras)
            else:
                yield dependency


def _texts(found: object, where: str, file: Path) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ArtifactError(f"flask_uwsgi_requirements={file} has no list of strings in {where}: correct it")
    return found


def _insist_on_no_place(document: dict[str, Any], file: Path) -> None:
    """Refuse a project that sets where its packages come from, unless the operator has set the same."""
    tools = table(document, "tool")
    uv = table(tools, "uv")
    given = [(f"tool.uv.{name}", uv[name]) for name in _SETTINGS if name in uv]
    given += [(f"tool.uv.pip.{name}", table(uv, "pip")[name]) for name in _SETTINGS if name in table(uv, "pip")]
    given += [("tool.poetry.source", table(tools, "poetry").get("source", []))]
    for name, value in given:
        for one in value if isinstance(value, list) else [value]:
            address = str(one.get("url", "") if isinstance(one, dict) else one)
            if address and not _known("", address):
                raise ArtifactError(
                    f"flask_uwsgi_requirements={file} has {_shown(address)!r} in {name}, which does not count "
                    f"here. {_ELSEWHERE}"
                )


def _insist_on_no_source(dependency: str, uv: dict[str, Any], file: Path) -> None:
    """Refuse to install from the registry what the project takes from elsewhere: it may be a different package."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    name = canonicalize_name(Requirement(dependency).name)
    if name in map(canonicalize_name, table(uv, "sources")):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} takes {name} from [tool.uv.sources], which does not count here, and the "
            f"registry's {name} may be a different package: publish it to the registry that uv of the controller is "
            "configured for and remove that line, or provide a lock with exact versions and hashes"
        )


def toml(content: str, file: Path) -> dict[str, Any]:
    """Parse a TOML document.

    Raises:
        ArtifactError: it is not valid.
    """
    try:
        return tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"flask_uwsgi_requirements={file} is not valid TOML: {error}. Correct it") from error


def table(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of a TOML document; empty if there is none."""
    found = document.get(name, {})
    return found if isinstance(found, dict) else {}
