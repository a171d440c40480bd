"""Settings that a host inherits from the controller: apt's mirror, certificate authorities, pip's settings."""

import configparser
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sandbox.paths import invoking_user
from sandbox.process import run

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
APT_KEYS = tuple(f"Acquire::{key} " for key in ("Check-Date", "Check-Valid-Until"))
PIP_KEYS = ("cert", "index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout")
PIP_SETTINGS = {key: f"PIP_{key.upper().replace('-', '_')}" for key in PIP_KEYS}
PIP_VARIABLES = ("PIP_CONFIG_FILE", *PIP_SETTINGS.values())


def mirror_lines(suite: str, os_release: str, targets: str) -> list[str]:
    """Return apt source lines for a suite, on the mirror that the controller uses.

    Args:
        suite: Debian's name of the suite.
        os_release: text of /etc/os-release.
        targets: lines "URI RELEASE" of the package indexes that the controller's apt uses.

    Returns:
        Source lines; none if the controller is not a Debian, in which case mmdebstrap chooses.
    """
    release = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    codename = release.get("VERSION_CODENAME", "")
    uris = {parts[1]: parts[0] for line in targets.splitlines() if len(parts := line.split()) == 2}
    if release.get("ID") != "debian" or codename not in uris:
        return []
    lines = [f"deb {uris[codename]} {suite} main", f"deb {uris[codename]} {suite}-updates main"]
    if security := uris.get(f"{codename}-security"):
        lines.append(f"deb {security} {suite}-security main")
    return lines


def apt_sources(suite: str) -> list[str]:
    """Return apt source lines for a suite on the controller's own mirror."""
    # apt itself parses every format of its sources.
    query = ["apt-get", "indextargets", "--format=$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    targets = run(query, "reading the controller's apt sources")
    return mirror_lines(suite, Path("/etc/os-release").read_text(), targets)


def apt_settings() -> list[str]:
    """Return the controller's settings of apt that a mirror with lists of an earlier day needs (apt.conf(5))."""
    found = run(["apt-config", "dump"], "reading the controller's apt settings").splitlines()
    return [line for line in found if line.startswith(APT_KEYS)]


def pip_files() -> list[Path]:
    """Return where pip looks for configuration, lowest priority first.

    Source: pip documentation, "Configuration", section "Location".
    """
    home = Path(invoking_user().pw_dir)
    named = os.environ.get("PIP_CONFIG_FILE")
    own = [home / ".pip/pip.conf", home / ".config/pip/pip.conf", *([Path(named)] if named else [])]
    return [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), *own]


def pip_settings(files: Iterable[Path], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the pip settings that make sense on another machine.

    Certificates, indexes and time-outs do; paths of the controller (``file://`` indexes, find-links,
    constraints) do not.

    Args:
        files: pip configuration files, lowest priority first.
        environment: environment variables, which take precedence.
    """
    found: dict[str, str] = {}
    parser = configparser.RawConfigParser()
    parser.read(files)
    for section in ("global", "install"):
        if parser.has_section(section):
            found |= dict(parser.items(section))
    found |= {key: environment[name] for key, name in PIP_SETTINGS.items() if environment.get(name)}
    for key in ("index-url", "extra-index-url"):
        found[key] = " ".join(url for url in found.get(key, "").split() if url.startswith(("https:", "http:")))
    return {key: found[key] for key in PIP_SETTINGS if found.get(key)}


def inherited_files(suite: str) -> dict[str, bytes]:
    """Return the files, by absolute path, with which a host can reach what the controller reaches."""
    files: dict[str, bytes] = {}
    if sources := apt_sources(suite):
        files["/etc/apt/sources.list"] = "\n".join([*sources, ""]).encode()
    if settings := apt_settings():
        files["/etc/apt/apt.conf.d/90sandbox"] = "\n".join([*settings, ""]).encode()
    pip = pip_settings(pip_files(), os.environ)
    # The bundle works immediately; the individual certificates survive an update-ca-certificates on the host.
    authorities = {CA_BUNDLE, *LOCAL_AUTHORITIES.rglob("*.crt"), Path(pip.get("cert", CA_BUNDLE))}
    files |= {str(path): path.read_bytes() for path in authorities if path.is_file()}
    if pip:
        files["/etc/pip.conf"] = "\n".join(["[global]", *(f"{k} = {v}" for k, v in pip.items()), ""]).encode()
    return files
