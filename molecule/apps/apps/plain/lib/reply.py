"""Found only through flask_uwsgi_python_path."""


def reply(path: str) -> bytes:
    """Return the body of an answer."""
    return path.encode()
