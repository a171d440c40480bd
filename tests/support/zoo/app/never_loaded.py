"""Fault: the import waits forever."""

import time

while True:
    time.sleep(1)
