"""The gevent check's findings about each application of the zoo, recorded during converge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

APP = "zoo"
ANIMALS = yaml.safe_load((Path(__file__).parents[1] / "vars" / "animals.yml").read_text())["animals"]
CHECKS = ("imports", "libraries", "cooperation")
HEALTHY = [animal["name"] for animal in ANIMALS if not animal.keys() & set(CHECKS)]

every_animal = pytest.mark.parametrize(
    "animal",
    [
        pytest.param(animal, id=animal["name"], marks=[pytest.mark.full] if animal.get("full") else [])
        for animal in ANIMALS
    ],
)


def checked(name: str) -> dict[str, Any]:
    (report,) = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "checks" / name).glob("*.json")
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def test_there_are_healthy_animals() -> None:
    assert set(HEALTHY) >= {"sample", "cooperates"}


@every_animal
def test_each_check_has_the_expected_verdict(animal: dict[str, Any]) -> None:
    found = checked(animal["name"])
    wanted = {name: animal.get(name, {}).get("verdict", "ok") for name in CHECKS}
    assert {name: check["verdict"] for name, check in found["checks"].items()} == wanted, found["checks"]


@every_animal
def test_the_finding_names_the_file_and_the_line_and_a_remedy(animal: dict[str, Any]) -> None:
    found = checked(animal["name"])
    for name in animal.keys() & set(CHECKS):
        wanted = animal[name]
        reported = [one for one in found["checks"][name]["findings"] if one["level"] == wanted["verdict"]]
        assert reported, name
        text = "\n".join("\n".join([one["what"], *one["evidence"]]) for one in reported)
        assert wanted.get("evidence", "") in text
        assert all(one["remedy"] for one in reported) or "evidence" not in wanted


@every_animal
def test_gevent_is_not_blamed_for_a_fault_that_threads_mode_has_too(animal: dict[str, Any]) -> None:
    found = checked(animal["name"])
    assert (found["common"], bool(found["cause"])) == (
        animal.get("common", False),
        found["failure"] == "ended" or found["common"],
    )


@pytest.mark.parametrize("name", [pytest.param("harmless", marks=pytest.mark.full), "sample"])
def test_nothing_is_reported_about_harmless_code(name: str) -> None:
    assert {part: check["findings"] for part, check in checked(name)["checks"].items()} == {part: [] for part in CHECKS}


def test_waiting_requests_of_a_healthy_application_overlap() -> None:
    assert checked("cooperates")["overlap"] > 0.5


def test_a_check_of_the_sample_application_is_quick() -> None:
    # About a second; the machine may be busy.
    assert checked("sample")["duration_s"] < 20


def test_a_check_leaves_nothing_on_the_host(host: Any) -> None:
    assert host.run(f"ls -d /run/{APP}-check /etc/systemd/system/{APP}-check*").stdout == ""
    assert host.check_output(f"systemctl list-units --all --plain --no-legend '{APP}-check*'") == ""
    assert host.run(f"pgrep -u {APP}").stdout == ""


def test_the_result_is_stored_with_the_generation_for_root_and_its_account(host: Any) -> None:
    generation = checked("sample")["generation"]
    result = host.file(f"/opt/{APP}/generations/{generation}/gevent_check.json")
    assert (result.user, result.group, result.mode) == ("root", APP, 0o640)
    assert json.loads(result.content_string) == checked("sample")
