"""Explains an unexpected response to a health request: what it said, its likely cause, and what to set."""

from __future__ import annotations

import html
import re

from .foreign import printable

# Characters of a response to show.
_MOST = 200
_TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_MARKUP = re.compile(r"\s*<[!a-z?]", re.IGNORECASE)
_LOGIN = re.compile(r"log-?in|sign-?in|auth|sso", re.IGNORECASE)
_PATH, _STATUS, _HOST = "flask_uwsgi_health_path", "flask_uwsgi_health_status", "flask_uwsgi_health_host"


def gist(body: str) -> str:
    """Return the first line of a response that has text, or the title of an HTML page, for an operator's terminal.

    Args:
        body: the response's body, or its beginning.
    """
    text = body
    if _MARKUP.match(body):
        title = _TITLE.search(body)
        text = html.unescape(title[1] if title and title[1].strip() else _TAG.sub("\n", _HIDDEN.sub("", body)))
    elif body.lstrip().startswith(("{", "[")):
        # In a JSON document, the first line may be only a bracket.
        text = " ".join(body.split())
    lines = (line.strip() for line in text.splitlines())
    return printable(next((line for line in lines if line), ""), _MOST)


def advice(answered: int, wanted: int, target: str, host: str, location: str = "") -> str:
    """Return the likely cause of an unexpected status, and what to set, as sentences without the last full stop.

    Args:
        answered: the status of the response.
        wanted: the value of ``flask_uwsgi_health_status``.
        target: the value of ``flask_uwsgi_health_path``.
        host: the value of ``flask_uwsgi_health_host``.
        location: where a redirect leads.
    """
    path = f"{_PATH}={target}"
    other = f"set {_PATH} to a path that answers {wanted} without a login"
    healthy = f"{_STATUS}={answered} if that answer is healthy"
    if 300 <= answered < 400 and answered != 304:
        if location.startswith("https://"):
            return (
                f"It redirects requests that are not HTTPS, as it should behind a proxy with TLS. {_capital(other)} "
                f"or HTTPS (Django: SECURE_REDIRECT_EXEMPT), or {healthy}. Behind the proxy the application must "
                "trust its X-Forwarded-Proto (Django: SECURE_PROXY_SSL_HEADER, Flask: ProxyFix)"
            )
        login = f"{path} requires a login. " if _LOGIN.search(location) else ""
        return f"{login}{_capital(other)} or a redirect, or {healthy}"
    allows = f"set {_HOST} to a host that the application allows"
    if answered in (400, 421):
        return (
            f"If it was refused for its Host header ({_HOST}={host}), as by Django's ALLOWED_HOSTS or Flask's "
            f"TRUSTED_HOSTS, {allows}; otherwise {other}"
        )
    if answered == 401:
        return f"{path} requires a login. {_capital(other)}, or {healthy}"
    if answered == 403:
        refused = f"{path} is not allowed for everyone, or not for {_HOST}={host}"
        return f"{refused}. {_capital(other)}, or {allows}, or {healthy}"
    if answered in (404, 405):
        lacks = "has no such path" if answered == 404 else "does not accept GET there"
        return (
            f'The application {lacks}, or not for {_HOST}={host}. {_capital(other)}, or to "" if it has none; then any '
            "response is accepted"
        )
    if answered < 300:
        return f"{_capital(other)}, or {healthy}"
    return ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
