"""Runs inside the sandbox of a build host: fetches files, installs the tools, builds a wheel, creates a lock.

:mod:`sandbox` starts it as ``python3 -I FILE VERB``, and it imports nothing of the collection. Its input is read-only
in ``in``; its result goes to standard output as a tar, and its messages to standard error. Nothing that it writes
outlives it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path("/var/lib/flaskops-build")
GIVEN = ROOT / "in"
WORK = ROOT / "work"
# A virtual environment contains its own path, so it is created and used at the same one.
TOOLS = ROOT / "tools"
# The distribution's own pip, which ensurepip installs: both come with Debian's python3-venv, and with RHEL's Python, of
# which each has its own folder.
_BUNDLED = (sysconfig.get_config_var("WHEEL_PKG_DIR"), "ensurepip/_bundled", "/usr/share/python-wheels")
# Prefix of a line with something that a build needs but the build lock does not have.
NEEDS = "build requirement that artifact_build_lock does not have: "
# Of Debian, and of RHEL.
_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def main() -> None:
    """Run a verb, and write its result to standard output."""
    with os.fdopen(os.dup(0), "rb", buffering=0) as stream:
        os.environ.update(json.loads(stream.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for folder in (WORK / "out", WORK / "tmp"):
        folder.mkdir(parents=True)
    os.chdir(WORK)
    os.environ.update(HOME=str(WORK), TMPDIR=str(WORK / "tmp"), PYTHONPYCACHEPREFIX=str(WORK / "pyc"))
    # Nothing else may write to the output.
    answer = os.dup(1)
    os.dup2(2, 1)
    verbs: dict[str, Callable[..., Path]] = {"tools": tools, "wheel": wheel, "lock": lock}
    with os.fdopen(answer, "wb") as output, tarfile.open(fileobj=output, mode="w|") as tar:
        if sys.argv[1] == "fetch":
            # File by file: what is written here is in memory, and wheels can be gigabytes large.
            for member, content in fetch():
                try:
                    tar.addfile(member, content)
                except OSError as error:
                    sys.exit(f"ERROR: the download of {member.name.partition('/')[2]} ended early: {error}")
        else:
            tar.add(verbs[sys.argv[1]](*sys.argv[2:]), arcname=".")


def _end_with_parent() -> None:
    """End when the run that started this ends: it holds the other end of standard input."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def fetch() -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Download one file for each entry of ``in/entries.json`` whose marker applies here, with the distribution's pip.

    Each is in a folder named by the entry's number. pip's own commands run the build of an sdist to read its metadata;
    its index and session alone run nothing. They are used with the host's pip configuration.
    """
    entries = json.loads((GIVEN / "entries.json").read_text())
    # pip prints why the registry does not respond, and then that it has no such package.
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("pip._internal.index.collector").setLevel(logging.INFO)
    with _pip() as (finder, session):
        from pip._internal.utils.hashes import Hashes  # type: ignore[import-not-found,unused-ignore]
        from pip._vendor.packaging.markers import Marker  # type: ignore[import-not-found,unused-ignore]
        from pip._vendor.packaging.specifiers import SpecifierSet  # type: ignore[import-not-found,unused-ignore]

        for number, entry in enumerate(entries):
            if entry["marker"] and not Marker(entry["marker"]).evaluate({"extra": ""}):
                continue
            wanted = SpecifierSet(f"=={entry['version']}", prereleases=True)
            found = finder.find_best_candidate(entry["name"], wanted, Hashes(entry["hashes"])).best_candidate
            if not found:
                sys.exit(f"ERROR: No matching distribution found for {entry['name']}=={entry['version']}")
            answer = session.get(
                found.link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True, timeout=60
            )
            answer.raise_for_status()
            member = tarfile.TarInfo(f"{number}/{found.link.filename}")
            length = answer.headers.get("Content-Length", "")
            if length.isdecimal() and "Content-Encoding" not in answer.headers:
                member.size = int(length)
                yield member, answer.raw
                continue
            # A tar has the size before the content.
            with tempfile.TemporaryFile() as stream:
                for chunk in answer.iter_content(2**16):
                    stream.write(chunk)
                member.size = stream.tell()
                stream.seek(0)
                yield member, stream


class _pip:
    """The index and the session of the distribution's pip, as configured on this host."""

    def __init__(self) -> None:
        own, bundled, debian = _BUNDLED
        folders = map(Path, filter(None, (own, *(f"{path}/{bundled}" for path in sys.path if path), debian)))
        sys.path.insert(0, str(next(wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl")))))
        from pip._internal.commands import create_command  # type: ignore[import-not-found,unused-ignore]

        self.command: Any = create_command("download")
        self.options, _ = self.command.parse_args(["--no-deps", "--no-cache-dir", "--no-input", "--quiet", "none"])

    def __enter__(self) -> tuple[Any, Any]:
        self.context = self.command.main_context()
        self.context.__enter__()
        session = self.command.get_default_session(self.options)
        return self.command._build_package_finder(self.options, session), session

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)


def tools() -> Path:
    """Create the virtual environment of the build tools from the wheels in ``in/wheels``."""
    _call(sys.executable, "-m", "venv", "--without-pip", str(TOOLS))
    wheels = sorted(str(wheel) for wheel in (GIVEN / "wheels").iterdir())
    pip = next(wheel for wheel in wheels if Path(wheel).name.startswith("pip-"))
    _call(f"{TOOLS}/bin/python", f"{pip}/pip", "install", "--no-index", "--no-deps", "--no-compile", *_PLAIN, *wheels)
    return TOOLS


# Options for every pip command.
_PLAIN = ("--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-input", "--isolated")


# The version that backends get which would ask the repository for it: setuptools-scm and hatch-vcs, PDM, pbr, and
# Poetry's plugin.
_VERSIONS = (
    "SETUPTOOLS_SCM_PRETEND_VERSION", "PDM_BUILD_SCM_VERSION", "PBR_VERSION", "POETRY_DYNAMIC_VERSIONING_BYPASS",
)  # fmt: skip


def wheel(file: str, unversioned: str = "") -> Path:
    """Build the wheel of an sdist in ``in/sdist``, with the patches in ``in/patches``.

    Args:
        file: its name, or that of a folder's archive.
        unversioned: whether its version may come from a repository, which is not available.
    """
    shutil.unpack_archive(GIVEN / "sdist" / file, WORK / "source")
    inner = list((WORK / "source").iterdir())
    source = inner[0] if len(inner) == 1 and inner[0].is_dir() else WORK / "source"
    if unversioned and not (source / "PKG-INFO").is_file():
        os.environ.update(dict.fromkeys(_VERSIONS, "0"))
    if not any((source / name).is_file() for name in ("pyproject.toml", "setup.py")):
        # pip does not accept a setup.cfg alone as a project.
        (source / "pyproject.toml").touch()
    patches = GIVEN / "patches"
    for patch in sorted(patches.iterdir()) if patches.is_dir() else []:
        _call("patch", "-p1", "--fuzz=0", "--forward", "--batch", "--input", str(patch), cwd=source)
    missing, conflicting = _build_requirements(source)
    if missing:
        sys.exit("\n".join(f"ERROR: {NEEDS}{requirement}" for requirement in missing))
    try:
        _call(
            f"{TOOLS}/bin/pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", *_PLAIN,
            "--wheel-dir", str(WORK / "out"), str(source),
        )  # fmt: skip
    except SystemExit as failure:
        # Other versions often work as well; if they do not, they are the first suspects.
        sys.exit("\n".join([*(f"ERROR: {NEEDS}{requirement}" for requirement in conflicting), str(failure)]))
    return WORK / "out"


def _build_requirements(source: Path) -> tuple[list[str], list[str]]:
    """Return the build requirements of pyproject.toml (PEP 518) that the tools lack, and those with another version."""
    file = source / "pyproject.toml"
    check = (
        "import json, sys; from importlib.metadata import version, PackageNotFoundError as Absent\n"
        "from pip._vendor.packaging.requirements import Requirement\n"
        # Python has none of its own before 3.11.
        "try: import tomllib\n"
        "except ImportError: from pip._vendor import tomli as tomllib\n"
        "build = tomllib.loads(sys.stdin.read()).get('build-system', {})\n"
        "missing, conflicting = [], []\n"
        "for text in build.get('requires', ['setuptools']):\n"
        "    wanted = Requirement(text)\n"
        "    if wanted.marker and not wanted.marker.evaluate({'extra': ''}): continue\n"
        "    try:\n"
        "        there = version(wanted.name)\n"
        "        wanted.specifier.contains(there, prereleases=True) or conflicting.append(f'{text} (has {there})')\n"
        "    except Absent: missing.append(text)\n"
        "print(json.dumps([missing, conflicting]))"
    )
    project = file.read_text() if file.is_file() else ""
    done = subprocess.run(
        [f"{TOOLS}/bin/python", "-c", check], input=project, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    missing, conflicting = json.loads(done.stdout)
    return missing, conflicting


def lock() -> Path:
    """Lock the requirements in ``in/wanted`` with uv, which builds what it must with the tools to read it."""
    wanted = GIVEN / "wanted"
    uv = WORK / "uv"
    with zipfile.ZipFile(next((GIVEN / "uv").iterdir())) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        uv.write_bytes(archive.read(name))
    uv.chmod(0o755)
    options = _pip().options
    authorities = options.cert or next((path for path in _CA_BUNDLES if Path(path).is_file()), "")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))
    } | {"UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1", "PATH": f"{TOOLS}/bin:{os.environ['PATH']}"}  # fmt: skip
    if authorities:
        environment["SSL_CERT_FILE"] = authorities
    project = []
    if (wanted / "project.tar.gz").is_file():
        shutil.unpack_archive(wanted / "project.tar.gz", WORK / "project")
        name, *extras = (wanted / "project").read_text().splitlines()
        project = [str(WORK / "project" / name), *(f"--extra={extra}" for extra in extras)]
        environment |= dict.fromkeys(_VERSIONS, "0")
    output = WORK / "out" / "lock.txt"
    # uv keeps the versions that are already in its output file.
    shutil.copyfile(wanted / "preferred.txt", output)
    # The nearest configuration applies, and this one is empty.
    (WORK / "tmp" / "uv.toml").touch()
    _call(
        str(uv), "pip", "compile", "--quiet", "--no-progress", "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-index-url", "--no-emit-find-links", "--no-sources", "--no-build-isolation",
        "--cache-dir", str(WORK / "cache"), "--python", f"{TOOLS}/bin/python",
        "--constraints", str(wanted / "constraints.txt"), "--overrides", str(wanted / "overrides.txt"),
        *_indexes(options), "--output-file", str(output),
        *project, str(wanted / "requirements.txt"),
        cwd=WORK / "tmp", environment=environment,
    )  # fmt: skip
    return WORK / "out"


def _indexes(options: Any) -> Iterator[str]:
    """Yield uv's options for the indexes of pip's configuration, which uv does not read."""
    if options.no_index:
        yield "--no-index"
    elif options.index_url:
        yield f"--default-index={options.index_url}"
    yield from (f"--index={address}" for address in options.extra_index_urls or ())
    yield from (f"--find-links={place}" for place in options.find_links or ())
    yield from (f"--allow-insecure-host={host}" for host in options.trusted_hosts or ())


def _call(*command: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        name = re.sub(r".*/", "", command[0])
        sys.exit(f"`{name} {command[1]}` failed with {done.returncode}")


if __name__ == "__main__":
    main()
