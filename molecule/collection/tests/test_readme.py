"""The README's play in a project of its own. The tests run in this order and build on each other."""

from __future__ import annotations

import contextlib

import pytest

from tests.support import console
from tests.support.stranger import APP, Project
from tests.support.witness import Witness

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def deployed(project: Project) -> None:
    """Deploy for the first time."""
    project.release()
    project.deploy()


@pytest.fixture(autouse=True)
def nothing_reserved(project: Project) -> None:
    """Check that the application is not reserved when a test begins."""
    assert {console.run(name, f"cat /run/{APP}.deploy") for name in project.urls} == {""}


def test_a_new_release_reaches_one_host_after_the_other_without_a_failed_request(project: Project) -> None:
    before = project.serving
    project.release()
    with contextlib.ExitStack() as stack:
        witnesses = [stack.enter_context(Witness(url, clients=20, timeout_s=60)) for url in project.urls.values()]
        with contextlib.ExitStack() as during:
            windows = [during.enter_context(witness.window("README", steady=0.5)) for witness in witnesses]
            project.deploy()
        reports = [window.report() for window in windows]
    assert [report.failures for report in reports] == [{}, {}]
    assert all(len(report.answered) >= 2 for report in reports), "both generations answered on both hosts"
    assert len(set(before.values())) == len(set(project.serving.values())) == 1
    assert set(project.serving.values()).isdisjoint(before.values())


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    said = project.deploy()
    assert said.count("nothing to do: generation") == 2
    assert said.count("changed=0") == 2


def test_a_migration_that_fails_on_the_first_host_ends_the_deploy(project: Project) -> None:
    before = project.serving
    project.release()
    said = project.deploy("-e", '{"flask_uwsgi_pre_activate": ["echo migrating", "false"]}', status=2)
    assert "flask_uwsgi_pre_activate failed: it exited with status 1" in said
    assert f"The deploy ends with the failure above, of {project.first}." in said
    assert f"[{project.second}]" not in said
    assert project.serving == before


@pytest.mark.full
def test_an_unreachable_host_is_named_and_the_next_run_completes_the_deploy(project: Project) -> None:
    before = project.serving
    project.release()
    with project.unreachable(project.second):
        said = project.deploy(status=2)
        assert "cannot be reached over SSH as " in said and "Nothing was changed." in said
        now = project.serving
        # Its service was not affected.
        assert now[project.second] == before[project.second]
        assert now[project.first] not in before.values()
    said = project.deploy()
    assert said.count("nothing to do: generation") == 1
    assert set(project.serving.values()) == {now[project.first]}
