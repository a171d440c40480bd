"""Filters for the comparison of several ways to serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskops.uwsgi.plugins.module_utils import compare, compare_show


def compare_page(document: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the page of a comparison shows.

    Args:
        document: what :func:`compare.document` made.

    Returns:
        The page's data, see :func:`compare_show.page`.

    Raises:
        AnsibleFilterError: matplotlib is missing on the controller, or the document is of another format.
    """
    try:
        return compare_show.page(document)
    except ImportError as error:
        raise AnsibleFilterError(
            f"{error}: the page's charts need matplotlib where Ansible runs: pip install matplotlib"
        ) from error
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


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
