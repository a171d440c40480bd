"""An artifact, and what is asked for to get one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        source: the application: a folder, a wheel or an sdist on the controller, a pinned package (``NAME==VERSION``),
            or a git repository (``git+URL@REF``).
        server_lock: the requirements of the application server (uWSGI, gevent), with hashes.
        build_lock: what builds wheels (pip, build backends), with hashes.
        patches: the folder that has a folder of patches for each NAME-VERSION that is built with some; empty
            to build all as released.
        platform: distribution, architecture and Python of the hosts, such as ``debian-12-x86_64-py3.11``.
        cache: the folder on the controller that keeps archives.
        python: the interpreter on the hosts that it is for, the same path on all of them. Empty for the system's.
        requirements: what the application requires, a file relative to the source. If it is no lock, one is made and
            kept in the cache. Empty for what the source has.
        install: whether a folder that names a build backend is built and installed, as by ``pip install .``.
        wsgi_file: the file that the source must have; empty for none.
        limits: the variables that limit a build, with their values.
        build_packages: packages that the application's wheels are compiled with. Others give other wheels.
        exclude: shell patterns of files and folders to leave out.
    """

    source: str
    server_lock: str
    build_lock: str
    patches: str
    platform: str
    cache: str
    python: str = ""
    requirements: str = ""
    install: bool = True
    wsgi_file: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    build_packages: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Artifact:
    """An artifact. An ``id`` is the first 12 digits of a SHA-256, for people; the whole, the ``digest``, decides.

    Args:
        id: of code and wheels.
        digest: of code and wheels.
        platform: as in the request.
        python: as in the request.
        source: its ``kind``, and what is the same on every controller, such as the ``commit``.
        locked: ``from`` which file a lock was made, of how many ``packages``, and its ``path``; empty if the
            application has one.
        ignored: the options in files of the application that do not count.
        notes: sentences for the operator.
        project: the name of the project that the source is, if it is installed; else empty.
        python_path: the folders of the source, relative to it, that are put on Python's path because nothing is
            installed of them.
        left_out: the Python packages and modules of the source that are not deployed, each with the pattern of
            ``exclude`` that it matches.
        code: ``id``, ``path``, and the archive's record: ``file``, ``sha256``, ``inputs`` and ``unpacked`` (bytes).
        wheelhouse: ``id``, ``digest``, ``path``; ``built``, whether the archive is in the cache, and then its record;
            what it is built of: ``requirements`` (the texts of two locks), ``distribution`` (a file, or empty),
            ``project`` (its name, if that is the archive of a folder) and ``patches``.
    """

    id: str
    digest: str
    platform: str
    python: str
    source: dict[str, str]
    locked: dict[str, Any]
    ignored: list[str]
    notes: list[str]
    project: str
    python_path: list[str]
    left_out: dict[str, str]
    code: dict[str, Any]
    wheelhouse: dict[str, Any]
