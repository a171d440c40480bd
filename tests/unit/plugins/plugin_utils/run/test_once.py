import json
import multiprocessing
import os
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller, once

# Like Ansible's own workers.
FORK = multiprocessing.get_context("fork")


def work(cache: Path, fails: bool) -> str:
    """Record a call, and return the number of calls."""
    with (cache / "ran").open("a") as stream:
        stream.write("x")
    if fails:
        raise ArtifactError("the branch is gone")
    return (cache / "ran").read_text()


def worker(cache: Path, start: object, answers: object, fails: bool) -> None:
    start.wait(30)  # type: ignore[attr-defined]
    try:
        answers.put(once.once(cache, "key", lambda: work(cache, fails)))  # type: ignore[attr-defined]
    except ArtifactError as error:
        answers.put(f"problem: {error}")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("fails", "answer"), [(False, "x"), (True, "problem: the branch is gone")])
def test_the_workers_of_a_run_share_one_answer(tmp_path: Path, fails: bool, answer: str) -> None:
    start, answers = FORK.Barrier(8), FORK.Queue()
    workers = [FORK.Process(target=worker, args=(tmp_path, start, answers, fails)) for _ in range(8)]
    for process in workers:
        process.start()
    assert [answers.get(timeout=60) for _ in workers] == [answer] * 8
    for process in workers:
        process.join(60)
    assert (tmp_path / "ran").read_text() == "x"


def test_another_question_and_another_run_get_new_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(key: str) -> str:
        return once.once(tmp_path, key, lambda: work(tmp_path, False))

    assert [ask("a"), ask("a"), ask("b"), ask("a")] == ["x", "x", "xx", "x"]
    other = {**controller.identity(), "pid": os.getpid(), "start": controller._start(os.getpid())}
    monkeypatch.setattr(controller, "identity", lambda: other)
    assert [ask("a"), ask("a")] == ["xxx", "xxx"]


def test_an_incomplete_answer_is_computed_again(tmp_path: Path) -> None:
    once.once(tmp_path, "key", lambda: "first")
    (answer,) = tmp_path.iterdir()
    answer.write_text(answer.read_text().splitlines()[0] + "\n")
    assert once.once(tmp_path, "key", lambda: "second") == "second"
    assert once.once(tmp_path, "key", lambda: "third") == "second"


def test_answers_of_ended_runs_are_removed(tmp_path: Path) -> None:
    ended = {**controller.identity(), "start": "0"}
    (tmp_path / "once-ended.json").write_text(f"{json.dumps(ended)}\n{{}}\n")
    # About to be written by a running run.
    (tmp_path / "once-empty.json").touch()
    (tmp_path / "code-1.tar.gz").touch()
    once.once(tmp_path, "key", lambda: "")
    names = {path.name for path in tmp_path.iterdir()}
    assert "once-ended.json" not in names and names >= {"once-empty.json", "code-1.tar.gz"} and len(names) == 3


def test_no_answer_is_kept_for_weeks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {**controller.identity(), "home": "another start of this machine"}
    (tmp_path / "once-old.json").write_text(f"{json.dumps(elsewhere)}\n{{}}\n")
    once.once(tmp_path, "key", lambda: "")
    assert (tmp_path / "once-old.json").exists()
    monkeypatch.setattr(once, "_OLD", -1)
    once.once(tmp_path, "other", lambda: "")
    assert not (tmp_path / "once-old.json").exists()
