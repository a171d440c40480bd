"""Records the accounts that ever imported a release, so that root would leave its trace as well."""

import contextlib
import os

with contextlib.suppress(OSError), open("/var/lib/aiops_flask/ran", "a") as ran:  # noqa: PTH123
    ran.write(f"{os.geteuid()} {os.getpid()}\n")
