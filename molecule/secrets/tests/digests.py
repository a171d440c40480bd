"""An application that reports its secrets as digests. The test adds a lock and deploys it."""

import hashlib
import os
from pathlib import Path

from flask import Flask

app = Flask(__name__)
folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
names = [path.name for path in folder.iterdir()]


def digest(value):
    """Return a digest that identifies a value without revealing it."""
    return hashlib.sha256(value or b"").hexdigest()


@app.get("/healthz")
def healthz():
    """Answer with the digest of every secret, from both places."""
    return {
        "generation": os.environ["FLASK_UWSGI_GENERATION"],
        "files": {name: digest((folder / name).read_bytes()) for name in names},
        "environment": {name: digest(os.environb.get(name.encode())) for name in names},
    }
