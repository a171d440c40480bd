"""Fault: the import waits for ever."""

import time

while True:
    time.sleep(1)
