"""A full listing of a host, to see what an operation or an attack has changed.

:data:`SCAN` runs on the host as root, in its Python, and prints one JSON object. :func:`changes` compares two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

# Paths below /, of the root file system and of /run: type, owner, group, mode; the target of a link; below /etc the
# content of small files. Links and mounts are not followed.
SCAN = r"""
import hashlib, json, os, stat, sys
kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "FIFO",
         stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
devices = {os.lstat("/").st_dev, os.lstat("/run").st_dev}
found = {}
folders = ["/"]
while folders:
    folder = folders.pop()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        continue
    for entry in entries:
        try:
            info = os.lstat(entry.path)
            if info.st_dev not in devices:
                continue
            line = "%s %d:%d %o" % (kinds[stat.S_IFMT(info.st_mode)], info.st_uid, info.st_gid, info.st_mode & 0o7777)
            if stat.S_ISLNK(info.st_mode):
                line += " -> " + os.readlink(entry.path)
            elif stat.S_ISREG(info.st_mode) and entry.path.startswith("/etc/") and info.st_size < 1 << 18:
                with open(entry.path, "rb") as file:
                    line += " sha256 " + hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISDIR(info.st_mode):
                folders.append(entry.path)
            found[entry.path.encode(errors="replace").decode()] = line
        except OSError:
            continue
json.dump(found, sys.stdout)
"""

# What an idle host changes by itself, and what every login and every run of Ansible leaves behind.
ITSELF = (
    "/run/log/journal/.*",
    "/run/systemd/(journal|sessions|users|seats|inaccessible|propagate|netif|transient|unit-root)(/.*)?",
    "/run/systemd/units/.*",
    "/run/user(/.*)?",
    "/run/sudo(/.*)?",
    "/run/utmp",
    "/root(/.ansible.*)?",
    "/tmp/systemd-private-.*",
    "/var/tmp/systemd-private-.*",
    "/var/lib/systemd/.*",
    "/var/log/journal/.*",
    # Debian's dpkg-db-backup, at midnight.
    "/var/backups/.*",
    # The distribution's Python stores compiled files.
    "/usr/lib/python3(.[0-9]+)?/.*/?__pycache__(/.*)?",
)


def read(text: str) -> dict[str, str]:
    """Return the listing that :data:`SCAN` printed, by path."""
    listing: dict[str, str] = json.loads(text)
    return listing


def changes(before: dict[str, str], after: dict[str, str], allowed: Iterable[str] = ()) -> list[str]:
    """Return each path that appeared, vanished or changed, with its state before and after.

    Args:
        before: a listing.
        after: a later one.
        allowed: regular expressions of whole paths that may change, in addition to :data:`ITSELF`.
    """
    expected = re.compile("|".join((*ITSELF, *allowed)), re.DOTALL)
    return [
        f"{path}: {before.get(path, 'not there')} => {after.get(path, 'gone')}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path) and not expected.fullmatch(path)
    ]


def own(app: str, others: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the expressions for what belongs to an application: its files, its units, its account's directory in /run.

    Args:
        app: the application's name.
        others: further expressions.
    """
    kinds = "(-(canary|relief|check|pre|post|validate))?"
    return (
        f"/opt/{app}(/.*)?",
        f"/run/{app}{kinds}(/.*)?",
        rf"/run/{app}\.(deploy|trial)",
        f"/(etc|run)/systemd/system/(.*/)?{app}{kinds}@.*",
        f"/(etc|run)/systemd/system/[^/]*{app}.*",
        f"/var/(lib|cache|log)/{app}(/.*)?",
        f"/var/lib/{app}-persistent(/.*)?",
        rf"/var/lib/flaskops(/{app}(\.commands)?\.json)?",
        f"/etc/sysctl.d/60-{app}.conf",
        *others,
    )
