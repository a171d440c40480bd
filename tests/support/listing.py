"""A full listing of a host, to see what an operation or an attack has changed.

:data:`SCAN` runs on the host as root, by its Python, and prints one JSON object. :func:`changes` compares two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

# Paths below /, of the root file system and of /run: type, owner, group, mode; where a link leads; below /etc the
# content of small files. Nothing is followed.
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
            told = os.lstat(entry.path)
            if told.st_dev not in devices:
                continue
            line = "%s %d:%d %o" % (kinds[stat.S_IFMT(told.st_mode)], told.st_uid, told.st_gid, told.st_mode & 0o7777)
            if stat.S_ISLNK(told.st_mode):
                line += " -> " + os.readlink(entry.path)
            elif stat.S_ISREG(told.st_mode) and entry.path.startswith("/etc/") and told.st_size < 1 << 18:
                with open(entry.path, "rb") as file:
                    line += " sha256 " + hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISDIR(told.st_mode):
                folders.append(entry.path)
            found[entry.path.encode(errors="replace").decode()] = line
        except OSError:
            continue
json.dump(found, sys.stdout)
"""

# What an idle host changes by itself, and what every login and every run of Ansible leaves.
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
    # Python of the distribution keeps what it compiled.
    "/usr/lib/python3(.[0-9]+)?/.*/?__pycache__(/.*)?",
)


def read(text: str) -> dict[str, str]:
    """Return the listing that :data:`SCAN` printed, by path."""
    listing: dict[str, str] = json.loads(text)
    return listing


def changes(before: dict[str, str], after: dict[str, str], allowed: Iterable[str] = ()) -> list[str]:
    """Return each path that appeared, vanished or changed, with what it was and what it is.

    Args:
        before: a listing.
        after: a later one.
        allowed: regular expressions of whole paths that may change, beside those of :data:`ITSELF`.
    """
    expected = re.compile("|".join((*ITSELF, *allowed)), re.DOTALL)
    return [
        f"{path}: {before.get(path, 'not there')} => {after.get(path, 'gone')}"
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path) and not expected.fullmatch(path)
    ]


def own(app: str, others: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the expressions for what belongs to an application: its files, its units, its account's place in /run.

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
