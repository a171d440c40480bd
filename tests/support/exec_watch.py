"""Runs as root on a host under attack: records every file below a folder that root executes.

``python3 exec_watch.py REPORT FOLDER``, until SIGTERM. The kernel (fanotify(7), FAN_OPEN_EXEC_PERM) holds each
execution until this program has read its account, so that not even the shortest process is missed. It needs
CAP_SYS_ADMIN and is independent of the product: standard library only, no module of the collection.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

# From linux/fanotify.h.
FAN_CLOEXEC = 0x1
FAN_CLASS_CONTENT = 0x4
FAN_MARK_ADD = 0x1
FAN_MARK_FILESYSTEM = 0x100
FAN_OPEN_EXEC_PERM = 0x40000
FAN_ALLOW = 0x1
AT_FDCWD = -100
EVENT = struct.Struct("=IBBHQii")
RESPONSE = struct.Struct("=iI")


def main() -> None:
    """Write a line to the report for each execution by root, and answer the kernel immediately."""
    report, folder = Path(sys.argv[1]), sys.argv[2].rstrip("/") + "/"
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.fanotify_init(FAN_CLOEXEC | FAN_CLASS_CONTENT, os.O_RDONLY)
    # The whole file system, because units see it through their own mounts.
    flags, mask = FAN_MARK_ADD | FAN_MARK_FILESYSTEM, ctypes.c_uint64(FAN_OPEN_EXEC_PERM)
    if watch < 0 or libc.fanotify_mark(watch, flags, mask, AT_FDCWD, b"/") < 0:
        sys.exit(f"fanotify: {os.strerror(ctypes.get_errno())}")
    with report.open("a", buffering=1) as output:
        output.write("watching\n")
        while True:
            events = os.read(watch, 1 << 16)
            while events:
                length, _, _, _, _, fd, pid = EVENT.unpack_from(events)
                events = events[length:]
                try:
                    path = str(Path(f"/proc/self/fd/{fd}").readlink())
                    if path.startswith(folder) and Path(f"/proc/{pid}").stat().st_uid == 0:
                        output.write(f"{path} by {Path(f'/proc/{pid}/cmdline').read_bytes()!r}\n")
                except OSError as error:
                    output.write(f"lost: {error}\n")
                finally:
                    os.write(watch, RESPONSE.pack(fd, FAN_ALLOW))
                    os.close(fd)


if __name__ == "__main__":
    main()
