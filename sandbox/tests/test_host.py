import json

import pytest

from sandbox.errors import SandboxError
from sandbox.host import Record, Spec, parse_publish, parse_spec, records
from sandbox.paths import Layout


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("app1", Spec("app1", "bookworm", "flask")),
        ("app1:trixie", Spec("app1", "trixie", "flask")),
        ("build-1:bookworm:build", Spec("build-1", "bookworm", "build")),
        ("app1::build", Spec("app1", "bookworm", "build")),
    ],
)
def test_a_host_is_specified_as_name_suite_group(text: str, spec: Spec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize("text", ["", "App", "-a", "a:bookworm:a-b", "a:bookworm:b:c", "a:bookworm:", "a b", "../a"])
def test_an_invalid_host_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SandboxError, match="app1:bookworm:flask"):
        parse_spec(text)


def test_an_unknown_suite_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SandboxError, match=r"no suite 'sarge'\n.*bookworm, trixie"):
        parse_spec("app1:sarge")


def test_a_published_port_names_address_and_both_ports() -> None:
    assert parse_publish("127.0.0.1:8040:80") == ("127.0.0.1", 8040)


@pytest.mark.parametrize("text", ["8040", "8040:80", "localhost:1:2", "127.0.0.1:0:80", "127.0.0.1:80:70000"])
def test_an_invalid_published_port_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SandboxError, match=r"127\.0\.0\.1:8040:8040"):
        parse_publish(text)


def test_a_running_host_satisfies_a_specification_that_asks_for_no_more() -> None:
    record = Record("app1", publish=("127.0.0.1:8040:80",), address="10.213.40.11", image="i")
    assert record.satisfies(Spec("app1"), "i")
    assert record.satisfies(Spec("app1", group="build"), "i")
    assert not record.satisfies(Spec("app1", publish=("127.0.0.1:8041:80",)), "i")
    assert not record.satisfies(Spec("app1", "trixie"), "i")
    assert not record.satisfies(Spec("app1"), "newer")


def test_records_are_read_back(layout: Layout) -> None:
    directory = layout.hosts / "app1"
    directory.mkdir(parents=True)
    data = {"name": "app1", "suite": "trixie", "group": "flask", "publish": ["127.0.0.1:1:2"]}
    (directory / "host.json").write_text(json.dumps(data | {"address": "10.213.40.11", "image": "i"}))
    assert records(layout)["app1"].publish == ("127.0.0.1:1:2",)
    assert records(layout)["app1"].inventory is None


def test_a_damaged_record_counts_as_missing(layout: Layout) -> None:
    for name, text in {"empty": "", "foreign": '{"name": "foreign", "colour": "red"}'}.items():
        (layout.hosts / name).mkdir(parents=True)
        (layout.hosts / name / "host.json").write_text(text)
    assert records(layout) == {}
