"""The application's settings: read from the environment and checked once, at the start."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting cannot be used; the message names the variable, its value and the remedy."""


@dataclass(frozen=True)
class Settings:
    """The settings and their defaults; README.md lists the environment variables."""

    wait_seconds: float = 0.2
    log_level: str = "INFO"
    port: int = 8040
    generation: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from environment variables, or raise SettingsError."""

        def read(name: str, default: T, parse: Callable[[str], T], wanted: str) -> T:
            value = environment.get(name)
            if value is None:
                return default
            try:
                return parse(value)
            except ValueError:
                raise SettingsError(
                    f"{name}={value!r} cannot be used: set it to {wanted}, or unset it for {default}."
                ) from None

        return cls(
            wait_seconds=read("APP_WAIT_SECONDS", cls.wait_seconds, _seconds, "a number of seconds, 0 or more"),
            log_level=read("APP_LOG_LEVEL", cls.log_level, _level, f"one of {', '.join(LOG_LEVELS)}"),
            port=read("APP_PORT", cls.port, _port, "a port number, 0 (any free one) to 65535"),
            generation=environment.get("FLASK_UWSGI_GENERATION") or cls.generation,
        )


LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _seconds(value: str) -> float:
    seconds = float(value)
    # float() also accepts "nan" and "inf".
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError
    return seconds


def _level(value: str) -> str:
    level = value.upper()
    if level not in LOG_LEVELS:
        raise ValueError
    return level


def _port(value: str) -> int:
    port = int(value)
    if port not in range(65536):
        raise ValueError
    return port
