"""Shared by tests of several scenarios and folders."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
