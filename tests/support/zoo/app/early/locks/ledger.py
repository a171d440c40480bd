"""Written by one request at a time."""

import threading

lock = threading.Lock()
