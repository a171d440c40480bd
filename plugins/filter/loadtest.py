"""Filters that turn the measurements of a load test into reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import result
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import loadtest, loadtest_show


def loadtest_report(measured: Any) -> dict[str, Any]:
    """Evaluate the measurements of one host, and return its report.

    Args:
        measured: the measurements from ``roles/loadtest/tasks/report.yml``.

    Returns:
        The report.

    Raises:
        AnsibleFilterError: something that the role must provide is missing.
    """
    if not isinstance(measured, Mapping):
        raise AnsibleFilterError("loadtest_report requires the dictionary of one host's measurements")
    try:
        return loadtest.report(measured)
    except KeyError as error:
        raise AnsibleFilterError(f"loadtest_report: {error} is missing from the measurements") from error


def loadtest_missing(hosts: Sequence[str], suffix: str = "") -> list[dict[str, Any]]:
    """Create the reports of hosts that failed before they were measured.

    Args:
        hosts: their names.
        suffix: what follows the host in a report's name.

    Returns:
        The reports, all failed.
    """
    reason = "not measured: it failed or was unreachable earlier in this run"
    return [loadtest.missing_report(host, reason, suffix) for host in hosts]


def loadtest_site(sites: Any) -> dict[str, str]:
    """Choose the site that is measured through a load balancer, see :func:`loadtest.site`.

    Args:
        sites: the value of ``load_balancer_sites``.

    Raises:
        AnsibleFilterError: there is none.
    """
    try:
        return loadtest.site(sites)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def loadtest_summary(reports: Sequence[Mapping[str, Any]], width: int = 96) -> str:
    """Create the table and the sentences that end a verify run.

    Args:
        reports: the hosts' reports.
        width: columns that the text may take.

    Returns:
        The lines.
    """
    return loadtest_show.summary(reports, width)


def loadtest_page(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gather the content of the HTML page.

    Args:
        reports: the hosts' reports.

    Returns:
        The page's data, see :func:`loadtest_show.page`.
    """
    return loadtest_show.page(reports)


def loadtest_shares(hosts: Sequence[str], requests: int, concurrency: int, warmup: int) -> list[dict[str, Any]]:
    """Divide a run among load hosts, see :func:`result.shares`."""
    return [asdict(one) for one in result.shares(hosts, int(requests), int(concurrency), int(warmup))]


def loadtest_sent(
    orders: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return for each load host the result of its share, see :func:`result.sent`."""
    return result.sent(orders, ended)


def loadtest_merge(senders: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Merge the results of several load hosts, see :func:`result.merge`.

    Args:
        senders: the registered result of each host by its name.
        name: the prefix of the raw data's file names, before the host's name.
    """
    return result.merge(senders) | {"files": {host: f"{name}-{host}.json" for host in senders}}


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the names that templates use."""
        return {
            "loadtest_report": loadtest_report,
            "loadtest_missing": loadtest_missing,
            "loadtest_site": loadtest_site,
            "loadtest_summary": loadtest_summary,
            "loadtest_page": loadtest_page,
            "loadtest_shares": loadtest_shares,
            "loadtest_sent": loadtest_sent,
            "loadtest_merge": loadtest_merge,
        }
