"""Notes under which account a release was ever imported, where root would leave its trace as well."""

import contextlib
import os

with contextlib.suppress(OSError), open("/var/lib/aiops_flask/ran", "a") as ran:  # noqa: PTH123
    ran.write(f"{os.geteuid()} {os.getpid()}\n")
