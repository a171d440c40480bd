"""Filters for the comparison of several ways to serve."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare, compare_show


def compare_page(folder: str) -> dict[str, Any]:
    """Gather the content of the page for a folder of measurements.

    Args:
        folder: the folder of compare.json or clients.json, or both.

    Returns:
        The page's data, see :func:`compare_show.page`.

    Raises:
        AnsibleFilterError: matplotlib is missing on the controller, or a document cannot be shown.
    """
    try:
        documents = [_document(Path(folder, name)) for name in ("compare.json", "clients.json")]
        if not any(documents):
            raise ValueError(f"{folder} contains neither compare.json nor clients.json: measure first")
        return compare_show.page(*documents)
    except ImportError as error:
        raise AnsibleFilterError(
            f"{error}: the page's charts need matplotlib on the controller: pip install matplotlib"
        ) from error
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): remove it, and measure again") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} is not the document of a comparison: remove it, and measure again")
    return document


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the names that templates use."""
        return {
            "compare_problems": compare.problems,
            "compare_schedule": compare.schedule,
            "compare_machine": compare.machine,
            "compare_run": compare.run,
            "compare_document": compare.document,
            "compare_summary": compare_show.summary,
            "compare_page": compare_page,
        }
