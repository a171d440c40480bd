"""Evaluates a load test of one host: the checks against thresholds, and the report.

Pure functions over plain data. :func:`report` takes the measurements of the role ``loadtest`` on one host and
returns the content of ``reports/verify/HOST.json``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ...module_utils.load import engine
from ...module_utils.traffic.status import Status

Relation = Literal["==", "<=", ">="]
_CONTRARY: dict[Relation, str] = {"==": "!=", "<=": ">", ">=": "<"}

# Characters that an inventory name may contain but a file name should not.
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a run measured; the first run's numbers are at the top level of a report. Null if it measured nothing.

    Args:
        requests: requests that should be sent.
        concurrency: requests that should be in flight.
        complete: requests that ended, successfully or not.
        failed: failures as the load generator counts them.
        non_2xx: responses with another status.
        requests_per_second: complete requests by seconds.
        p50_ms: milliseconds within which half of the requests were served.
        p95_ms: likewise, for 95 %.
        p99_ms: likewise, for 99 %.
        max_ms: milliseconds of the longest request.
        duration_s: seconds that the run took.
        engine: name and version of the load generator.
        ab_version: version of ``ab``.
        started_at: when the run began.
    """

    requests: int | None = None
    concurrency: int | None = None
    complete: int | None = None
    failed: int | None = None
    non_2xx: int | None = None
    requests_per_second: float | None = None
    p50_ms: int | None = None
    p95_ms: int | None = None
    p99_ms: int | None = None
    max_ms: int | None = None
    duration_s: float | None = None
    engine: str | None = None
    ab_version: str | None = None
    started_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Run(Numbers):
    """The record of one run.

    Args:
        name: its name: ``article``, ``crowd``, ``http1``, ``http2``.
        outcome: ``measured``, ``failed``, ``skipped`` or ``unsent``, for a host that did not respond.
        reason: why it did not measure.
        curve_ms: milliseconds at each percent of the requests, from 0 on.
        files: the kept raw output, relative to the report.
        rest: what else the load generator returned.
    """

    name: str
    outcome: str = "measured"
    reason: str = ""
    curve_ms: list[float] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        own = {name: value for name, value in vars(self).items() if name != "rest"}
        return {**own, **self.rest}


@dataclass(frozen=True)
class Check:
    """A measured value compared with an expected one.

    Attributes:
        subject: what was checked: ``service``, ``answer``, or the name of a run.
        name: the property, with the unit in its name (``p99_ms``).
        measured: the measured value; None if it could not be measured, which never holds.
        relation: the required relation of ``measured`` to ``wanted``.
        wanted: the threshold.
        variable: the variable that sets the threshold; empty if no other value is correct.
        reason: shown instead of the comparison, if nothing could be compared.
        detail: shown after the comparison.
    """

    subject: str
    name: str
    measured: Any
    relation: Relation
    wanted: Any
    variable: str = ""
    reason: str = ""
    detail: str = ""

    @property
    def holds(self) -> bool:
        """Whether the measured value is as expected."""
        if self.reason or self.measured is None:
            return False
        if self.relation == "==":
            return bool(self.measured == self.wanted)
        if self.relation == "<=":
            return bool(self.measured <= self.wanted)
        return bool(self.measured >= self.wanted)

    @property
    def miss(self) -> str:
        """The sentence about a check that does not hold: ``article p99_ms 6200 > 5000 (VARIABLE)``."""
        if self.reason:
            return f"{self.subject}: {self.reason}"
        variable = f" ({self.variable})" if self.variable else ""
        wanted = _show(self.wanted)
        if self.measured is None:
            return f"{self.subject} {self.name} not measured, wanted {self.relation} {wanted}{variable}"
        detail = f": {self.detail}" if self.detail else ""
        contrary = _CONTRARY[self.relation]
        return f"{self.subject} {self.name} {_show(self.measured)} {contrary} {wanted}{variable}{detail}"

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain data, with ``holds`` and, if it does not hold, ``miss``."""
        data: dict[str, Any] = {
            "subject": self.subject,
            "name": self.name,
            "measured": self.measured,
            "relation": self.relation,
            "wanted": self.wanted,
            "variable": self.variable,
            "holds": self.holds,
        }
        if not self.holds:
            data["miss"] = self.miss
        return data


def _failure(subject: str, name: str, reason: str) -> Check:
    return Check(subject, name, None, "==", None, reason=reason)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def run_record(name: str, requests: int, concurrency: int, result: Mapping[str, Any]) -> Run:
    """Create the record of one run from what the module of its load generator returned.

    Args:
        name: the run's name: ``article``, ``crowd``, ``http1``, ``http2``.
        requests: the requested number of requests.
        concurrency: the requested number of requests in flight.
        result: the task's registered result; empty or ``skipped`` if the task did not run.
    """
    run = Run(name=name, requests=requests, concurrency=concurrency)
    measured = engine.returned(result)
    if isinstance(measured, Mapping):
        known = {key: value for key, value in measured.items() if key in Run.__dataclass_fields__}
        # Relative to the report, which may be moved elsewhere.
        files = {key: f"raw/{Path(path).name}" for key, path in measured.get("files", {}).items()}
        rest = {key: value for key, value in measured.items() if key not in known}
        run = replace(run, **known | {"files": files, "rest": rest})
        return replace(run, reason=result.get("msg") or run.reason) if run.outcome == "failed" else run
    if result.get("failed"):
        return replace(run, outcome="failed", reason=_one_line(result.get("msg", "")))
    return replace(run, outcome="unsent", reason="no load was sent because the host did not answer")


def check_run(
    run: Run,
    p99_ms_max: int,
    requests_per_second_min: float,
    body_bytes: int | None = None,
) -> list[Check]:
    """Compare one run with its thresholds.

    Args:
        run: the run.
        p99_ms_max: milliseconds within which 99 % of the requests must have been served.
        requests_per_second_min: requests per second that must be reached.
        body_bytes: length of the correct body; None if unknown. ``ab`` compares each body's length
            with the first one's, so if that one is right they all are.

    Returns:
        The checks; one with the reason for a run that failed; none for a run that was skipped or never sent, in the
        latter case because a check of the answer already reports it.
    """
    name = run.name
    if run.outcome in ("skipped", "unsent"):
        return []
    if run.outcome == "failed":
        return [_failure(name, "run", run.reason)]
    kinds = ", ".join(f"{count} {kind}" for kind, count in (run.rest.get("failures") or {}).items() if count)
    slowest, least = f"loadtest_{name}_p99_ms_max", f"loadtest_{name}_requests_per_second_min"
    checks = [
        Check(name, "complete", run.complete, "==", run.requests),
        Check(name, "failed", run.failed, "==", 0, detail=kinds),
        Check(name, "non_2xx", run.non_2xx, "==", 0),
        Check(name, "p99_ms", run.p99_ms, "<=", p99_ms_max, slowest),
        Check(name, "requests_per_second", run.requests_per_second, ">=", requests_per_second_min, least),
    ]
    # Only ab reports the length of the responses.
    if body_bytes is not None and "document_length_bytes" in run.rest:
        checks.append(Check(name, "body_bytes", run.rest["document_length_bytes"], "==", body_bytes))
    return checks


def check_service(status: Status, mode: str, gevent_threads_max: int) -> list[Check]:
    """Compare the process model with the configuration.

    Args:
        status: what serves.
        mode: ``gevent`` or ``threads``; empty for the configured mode.
        gevent_threads_max: operating-system threads that a worker may have in gevent mode.

    Returns:
        The checks: state, mode, workers, cores, threads, pidfile.
    """
    checks = [Check("service", "state", status.state, "==", "active")]
    if not checks[0].holds:
        # If a service does not run, all other values are missing, which would only hide the cause.
        return checks
    configured, observed, running = status.configured, status.observed, status.mode
    workers, cores, threads = (
        (observed.workers, observed.cores_per_worker, observed.threads_per_worker) if observed else (None, None, None)
    )
    cores_variable = f"flask_uwsgi_{running}" if running else ""
    checks += [
        Check("service", "mode", running, "==", mode or configured.mode, "mode" if mode else ""),
        Check("service", "workers", workers, "==", configured.processes, "flask_uwsgi_processes"),
        Check("service", "cores_per_worker", cores, "==", configured.cores, cores_variable),
    ]
    if running == "gevent":
        # The stats show a core per greenlet as well as per thread: only the kernel's thread count distinguishes a
        # gevent loop from a thread pool.
        limit = "loadtest_gevent_threads_max"
        checks.append(Check("service", "threads_per_worker", threads, "<=", gevent_threads_max, limit))
    elif running == "threads":
        checks.append(Check("service", "threads_per_worker", threads, ">=", configured.cores, "flask_uwsgi_threads"))
    if status.pidfile_true:
        checks.append(Check("service", "pidfile_pid", status.pidfile_pid, "==", status.main_pid))
    else:
        reason = (
            f"{status.pidfile} names process {_show(status.pidfile_pid)}, "
            f"the serving master is {_show(status.main_pid)}"
        )
        checks.append(_failure("service", "pidfile_pid", reason))
    return checks


def check_answer(subject: str, answer: Mapping[str, Any], expected: Any = None) -> list[Check]:
    """Compare one HTTP response with the expected one.

    Args:
        subject: its name in messages.
        answer: the result of ``ansible.builtin.uri`` with the content.
        expected: the body, decoded from JSON, or as a string for another type; None for any body.

    Returns:
        One check for the status and, if a body is expected, one for the body.
    """
    status = int(answer.get("status", -1))
    if status < 0:
        place = f" from {answer['url']}" if "url" in answer else ""
        # "Status code was -1 and not [200]: Request failed: <urlopen error …>" for people.
        said = _one_line(answer.get("msg", "")).partition("Request failed: ")
        return [_failure(subject, "status", f"no answer{place}: {said[2] or said[0]}")]
    checks = [Check(subject, "status", status, "==", 200)]
    if expected is not None:
        body = answer["json"] if "json" in answer else str(answer.get("content", "")).strip()
        checks.append(Check(subject, "body", body, "==", expected, "loadtest_expected_body"))
    return checks


def check_health(health: Mapping[str, Any], mode: str, generation: str | None) -> list[Check]:
    """Compare the mode and generation on the health page with what should run.

    Args:
        health: the result of ``ansible.builtin.uri`` for the health path.
        mode: the expected or running mode; empty for any.
        generation: the running generation according to the service's status; None if unknown.

    Returns:
        The checks of :func:`check_answer`, and one for each of these that the page shows and that is known.
    """
    checks = check_answer("health", health)
    page = health.get("json")
    if isinstance(page, Mapping):
        if mode and "mode" in page:
            checks.append(Check("health", "mode", page["mode"], "==", mode))
        if generation and "generation" in page:
            checks.append(Check("health", "generation", page["generation"], "==", generation))
    return checks


def check_keepalive(keepalive: Mapping[str, Any]) -> list[Check]:
    """Check that the keep-alive client counted no errors.

    Args:
        keepalive: what the module ``flaskops.uwsgi.keepalive`` returned as ``keepalive``.

    Returns:
        One check for the sequential and one for the parallel requests, if there were any; errors are reported with
        their kinds.
    """
    checks = []
    for part in ("sequential", "parallel"):
        counts = keepalive.get(part)
        if counts is None:
            continue
        errors = counts.get("errors")
        kinds = ", ".join(f"{count} {kind}" for kind, count in (counts.get("kinds") or {}).items())
        if errors:
            gave_up = " before it gave up" if counts.get("gave_up") else ""
            reason = f"{errors} of {counts.get('sent')} {part} requests failed{gave_up}: {kinds}"
            checks.append(_failure("keepalive", f"{part}_errors", reason))
        else:
            checks.append(Check("keepalive", f"{part}_errors", errors, "==", 0))
    return checks


def report(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate one host.

    Args:
        measured: the role's measurements, see ``roles/loadtest/tasks/report.yml``: ``host``, ``app``, ``url``,
            ``file`` (the report's name), ``mode`` (expected; empty for any), ``check_mode``, ``started_at``,
            ``service``, ``answer``, ``health`` and ``keepalive`` (registered results, empty if the task did
            not run), ``gevent`` (the result of a deploy's gevent check, empty if there is none),
            ``expected_body``, ``gevent_threads_max``, ``unexpected`` (an error that ended the
            measurements), ``runs``, each with ``name``, ``requests``, ``concurrency``, ``p99_ms_max`` and
            ``requests_per_second_min``, and ``results``, the runs' registered results with their ``item``.

    Returns:
        The content of ``HOST.json``: the first run, which is the article's or that over HTTP/1.1, at the top level, all
        ``runs``, ``checks``, ``misses``, ``warnings``, ``thresholds`` and the ``verdict``: ``pass``, ``fail`` or (check
        mode) ``skipped``.
    """
    service: Mapping[str, Any] = measured["service"]
    status = Status.read(service["status"]) if service.get("status") else None
    answer: Mapping[str, Any] = measured["answer"]
    health: Mapping[str, Any] = measured["health"]
    said = health.get("json")
    page: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    mode = str(measured["mode"])
    running, serving, release = (status.mode, status.generation, status.release) if status else (None, None, None)

    checks: list[Check] = []
    if measured["unexpected"]:
        checks.append(_failure("verify", "run", str(measured["unexpected"])))
    if service.get("unreachable"):
        checks.append(_failure("host", "ssh", f"unreachable: {_one_line(service.get('msg', ''))}"))
    elif status:
        checks += check_service(status, mode, int(measured["gevent_threads_max"]))
    elif service.get("failed"):
        checks.append(_failure("service", "status", f"status not readable: {_one_line(service.get('msg', ''))}"))
    body_bytes = None
    if _ran(answer):
        checks += check_answer("answer", answer, measured["expected_body"])
        expected = measured["expected_body"] is not None
        if expected and all(check.holds for check in checks if check.subject == "answer"):
            body_bytes = len(str(answer.get("content", "")).encode())
    if _ran(health):
        checks += check_health(health, mode or running or "", serving)

    results = {result["item"]["name"]: result for result in measured["results"]}
    runs = []
    warnings = []
    for plan in measured["runs"]:
        run = run_record(plan["name"], plan["requests"], plan["concurrency"], results.get(plan["name"], {}))
        runs.append(run)
        checks += check_run(run, plan["p99_ms_max"], plan["requests_per_second_min"], body_bytes)
        if run.outcome == "skipped":
            warnings.append(f"{run.name} skipped: {run.reason}")
        # ab's own warnings are about its statistics.
        if run.rest.get("senders"):
            warnings += [f"{run.name}: {text}" for text in run.rest["warnings"]]
    keepalive = measured["keepalive"].get("keepalive") or {}
    if keepalive:
        checks += check_keepalive(keepalive)
    elif measured["keepalive"].get("failed"):
        checks.append(_failure("keepalive", "run", _one_line(measured["keepalive"].get("msg", ""))))

    top = next(iter(runs), Numbers())
    misses = [check.miss for check in checks if not check.holds]
    return {
        "host": measured["host"],
        "file": measured["file"],
        "app": measured["app"],
        "url": measured["url"],
        "mode": running or page.get("mode") or mode or None,
        "generation": serving or page.get("generation"),
        **{name: getattr(top, name) for name in Numbers.__dataclass_fields__},
        "started_at": top.started_at or measured["started_at"],
        "verdict": "skipped" if measured["check_mode"] else _verdict(misses, checks),
        "misses": [] if measured["check_mode"] else misses,
        "warnings": [] if measured["check_mode"] else warnings,
        "thresholds": {
            f"loadtest_{plan['name']}_{limit}": plan[limit]
            for plan in measured["runs"]
            for limit in ("p99_ms_max", "requests_per_second_min")
        },
        "checks": [] if measured["check_mode"] else [check.to_dict() for check in checks],
        "runs": [run.to_dict() for run in runs],
        "keepalive": dict(keepalive),
        "gevent": _of_release(measured.get("gevent") or {}, release),
        "service": dict(service.get("status") or {}),
    }


def _of_release(check: Mapping[str, Any], release: str | None) -> dict[str, Any]:
    """Return the gevent check's result for the serving release; for another one, nothing."""
    if not release or check.get("release") != release:
        return {}
    return {key: check.get(key) for key in ("verdict", "path", "single_ms", "burst_ms", "requests", "checks")}


def _ran(result: Mapping[str, Any]) -> bool:
    return bool(result) and not result.get("skipped")


def _verdict(misses: Sequence[str], checks: Sequence[Check]) -> str:
    # A run in which all checks were disabled must not look like a success.
    return "pass" if checks and not misses else "fail"


def _one_line(text: Any) -> str:
    return " ".join(str(text).split()) or "no message"


def missing_report(host: str, reason: str, suffix: str = "") -> dict[str, Any]:
    """Create the report of a host that has none.

    Args:
        host: its name in the inventory.
        reason: why it was not measured.
        suffix: what follows the host in the report's name.

    Returns:
        A report with the verdict ``fail`` and no numbers. It is written like any other, since the report of an
        earlier run might show success.
    """
    return {
        **asdict(Numbers()),
        "host": host,
        "file": f"{_UNFIT.sub('_', host)}{suffix}.json",
        "app": None,
        "url": None,
        "mode": None,
        "generation": None,
        "verdict": "fail",
        "misses": [f"host: {reason}"],
        "warnings": [],
        "gevent": {},
        "thresholds": {},
        "checks": [_failure("host", "report", reason).to_dict()],
        "runs": [],
        "keepalive": {},
        "service": {},
    }


def site(sites: Any) -> dict[str, str]:
    """Choose the site that is measured through a load balancer: the first one with TLS, or else the first.

    Args:
        sites: the value of ``load_balancer_sites``.

    Returns:
        ``name`` (the first of its names, with an invented one for a wildcard), ``scheme`` and ``app``.

    Raises:
        ValueError: there is none, or it has no name or application.
    """
    # YAML reads a bare off as false.
    secure = [one for one in sites or [] if (one.get("tls", "self_signed") or "off") != "off"]
    chosen: Mapping[str, Any] = next(iter([*secure, *(sites or [])]), {})
    if not chosen.get("names") or not chosen.get("app"):
        raise ValueError("load_balancer_sites has no site to measure: describe at least one, with names and app")
    name = str(chosen["names"][0]).lower()
    return {
        "name": f"www{name[1:]}" if name.startswith("*.") else name,
        "scheme": "https" if secure else "http",
        "app": str(chosen["app"]),
    }
