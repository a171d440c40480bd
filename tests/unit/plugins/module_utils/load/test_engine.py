import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import engine


@pytest.mark.parametrize(
    ("name", "printed", "number"),
    [
        ("ab", "This is ApacheBench, Version 2.3 <$Revision: 1903618 $>", "2.3"),
        ("ab", "This is ApacheBench, Version 1.3d <$Revision: 1.73 $> apache-1.3", "1.3d"),
        ("ab", "Server Software:        ApacheBench, Version 9", None),
        ("wrk", "wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer", "4.1.0"),
        ("wrk", "wrk 4.2.0 [kqueue]", "4.2.0"),
        ("wrk", "wrk2 4.0.0", None),
        ("wrk", "", None),
        ("h2load", "h2load nghttp2/1.52.0\n", "1.52.0"),
        ("h2load", "nghttp2/1.52.0", None),
    ],
)
def test_the_version_is_read_without_revision_and_distribution(name: str, printed: str, number: str | None) -> None:
    assert engine.version(name, printed) == number


def test_a_generator_without_a_version_is_still_named() -> None:
    assert (engine.title("ab", "2.3"), engine.title("wrk", None)) == ("ab 2.3", "wrk")


@pytest.mark.parametrize("name", engine.NAMES)
def test_the_result_of_any_generator_is_found(name: str) -> None:
    assert engine.returned({"msg": "", "changed": False, name: {"outcome": "measured"}}) == {"outcome": "measured"}
    assert engine.returned({"msg": "unreachable"}) is None
