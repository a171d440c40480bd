"""What tests of several scenarios and folders share."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
