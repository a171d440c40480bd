"""The record of a deploy's commands: they run once for a generation, whoever deploys it."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import command_record
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.command_record import DONE, RUNNING, TakenError
from ansible_collections.flaskops.uwsgi.plugins.modules import command_record as module

from tests.support.fake_host import TemporaryLayout

US = {"who": "us@here", "home": "here", "pid": 6, "start": "100", "since": "2026-11-24T03:12:00Z", "what": "deploy"}
THEM = US | {"who": "them@there", "home": "there", "pid": 7}


def run_by(layout: TemporaryLayout, who: dict[str, Any], *generations: str) -> None:
    """Run the commands of generations on web1."""
    assert command_record.claim(layout, generations, "web1", who).state == RUNNING
    command_record.finish(layout, generations, who)


def test_they_run_once_for_a_generation_and_the_record_says_where_and_when(layout: TemporaryLayout) -> None:
    run_by(layout, US, "g1")
    found = command_record.claim(layout, ["g1"], "web2", THEM)
    assert (found.state, found.on, found.generations) == (DONE, "web1", ["g1"])
    assert found.at.endswith("Z") and found.by["who"] == "us@here"


def test_those_of_an_older_generation_run_again_after_another_one(layout: TemporaryLayout) -> None:
    for generation in ("g1", "g2", "g1"):
        run_by(layout, US | {"pid": generation}, generation)
    assert asdict(command_record.read(layout))["generations"] == ["g1"]  # type: ignore[arg-type]


def test_they_count_for_all_hosts_of_a_deploy_whatever_their_generations(layout: TemporaryLayout) -> None:
    run_by(layout, US, "g1", "g2")
    # From a later batch of the same play; then from another deploy.
    assert command_record.claim(layout, ["g3"], "web3", US).state == DONE
    for generation in ("g2", "g3"):
        assert command_record.claim(layout, [generation], "web3", THEM).state == DONE
    assert command_record.claim(layout, ["g4"], "web3", THEM).state == RUNNING


def test_of_two_runs_at_once_one_claims_and_the_other_is_given_its_name(layout: TemporaryLayout) -> None:
    command_record.claim(layout, ["g1"], "web1", THEM | {"lease": 60})
    with pytest.raises(TakenError, match=r"run on web1: deploy by them@there, pid 7, since 2026") as taken:
        command_record.claim(layout, ["g1"], "web2", US)
    assert taken.value.record and taken.value.record.by["idle_s"] >= 0
    # The claim's own run may, and so may one that knows that it has ended.
    assert command_record.claim(layout, ["g1"], "web1", THEM).state == RUNNING
    assert command_record.claim(layout, ["g1"], "web2", US, THEM).state == RUNNING


def test_a_claim_renewed_since_it_was_read_is_not_replaced(layout: TemporaryLayout) -> None:
    command_record.claim(layout, ["g1"], "web1", THEM)
    seen = command_record.read(layout)
    assert seen
    os.utime(layout.commands, ns=(seen.by["renewed"] + 1, seen.by["renewed"] + 1))
    with pytest.raises(TakenError):
        command_record.claim(layout, ["g1"], "web2", US, seen.by)


def test_after_a_claim_is_released_any_run_may_run_them(layout: TemporaryLayout) -> None:
    command_record.claim(layout, ["g1"], "web1", US)
    command_record.give_back(layout, THEM)
    assert command_record.read(layout)
    command_record.give_back(layout, US)
    assert command_record.read(layout) is None
    run_by(layout, THEM, "g1")
    # What was recorded stays.
    command_record.give_back(layout, THEM)
    assert command_record.claim(layout, ["g1"], "web1", US).state == DONE


def test_a_run_that_lost_its_claim_cannot_record_them(layout: TemporaryLayout) -> None:
    command_record.claim(layout, ["g1"], "web1", US)
    command_record.claim(layout, ["g1"], "web2", THEM, US)
    with pytest.raises(TakenError, match="the claim of this run has ended"):
        command_record.finish(layout, ["g1"], US)


def test_the_generation_of_the_other_mode_shares_the_record(layout: TemporaryLayout) -> None:
    run_by(layout, US, "gevent")
    # A second run that found them done, and then chose threads.
    assert command_record.claim(layout, ["gevent"], "web1", THEM).state == DONE
    assert command_record.finish(layout, ["gevent", "threads"], THEM).generations == ["gevent", "threads"]
    assert command_record.claim(layout, ["threads"], "web1", US | {"pid": 8}).state == DONE


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"state": "done"}', '{"generations": 1, "state": "done", "by": {}, "on": "a", "at": "b"}',
     '{"generations": [], "state": "other", "by": {}, "on": "a", "at": "b"}'],
)  # fmt: skip
def test_a_damaged_record_does_not_count(layout: TemporaryLayout, content: str) -> None:
    layout.commands.parent.mkdir(parents=True)
    layout.commands.write_text(content)
    assert command_record.read(layout) is None
    run_by(layout, US, "g1")


def test_only_root_can_read_it_and_it_exists_before_the_application(layout: TemporaryLayout) -> None:
    run_by(layout, US, "g1")
    assert layout.commands.exists() and not layout.mark.exists()
    assert stat.S_IMODE(layout.commands.stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.commands.parent.stat().st_mode) == 0o700
    assert "idle_s" not in json.loads(layout.commands.read_text())["by"]


# The module.


def test_the_module_claims_records_and_releases(
    layout: TemporaryLayout, call_module: Callable[..., dict[str, Any]]
) -> None:
    asked = {"app_name": "shop", "generations": ["g1"], "host": "web1", "run": US}
    assert call_module(module, **asked).items() >= {"changed": False, "record": None, "claimed": False}.items()
    # Check mode reports what would happen, and writes nothing.
    assert call_module(module, **asked, state="claimed", check=True)["claimed"] is True
    assert not layout.commands.exists()
    assert call_module(module, **asked, state="claimed", lease=90)["claimed"] is True
    assert json.loads(layout.commands.read_text())["by"] == US | {"lease": 90}
    refused = call_module(module, **asked | {"run": THEM}, state="claimed")
    assert refused["failed"] and refused["record"]["on"] == "web1"
    assert call_module(module, app_name="shop", run=US, state="absent")["record"] is None
    call_module(module, **asked, state="claimed")
    assert call_module(module, **asked, state="done")["record"]["state"] == DONE
    again = call_module(module, **asked | {"run": THEM}, state="claimed")
    assert again["claimed"] is False and again["record"]["generations"] == ["g1"]


@pytest.mark.parametrize("missing", ["generations", "host"])
def test_the_module_requires_the_generation_and_the_commands(
    call_module: Callable[..., dict[str, Any]], missing: str
) -> None:
    asked: dict[str, Any] = {"app_name": "shop", "generations": ["g1"], "host": "web1", "run": US}
    del asked[missing]
    assert call_module(module, **asked, state="claimed")["msg"] == "state=claimed needs generations and host: set both"
