import errno
import resource
from itertools import pairwise
from pathlib import Path

import pytest

from clients import common

HOST = "http://127.0.0.1:8040"


def read(*arguments: str) -> common.Options:
    parser = common.make_parser("client", "")
    return common.read(parser, parser.parse_args(arguments))


def test_defaults_are_the_articles_with_all_requests_concurrent() -> None:
    options = read(HOST)

    assert (options.requests, options.concurrency) == (300, 300)
    assert options.url == f"{HOST}/user_manage/user/login"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://localhost", "http://localhost/user_manage/user/login"),
        ("https://[::1]:8040/", "https://[::1]:8040/user_manage/user/login"),
        ("http://host:1/path?a=1", "http://host:1/path?a=1"),
        ("http://bücher.example/x", "http://bücher.example/x"),
    ],
)
def test_a_host_alone_means_its_login(url: str, asked: str) -> None:
    assert read(url).url == asked


def test_options_survive_a_command_line() -> None:
    options = read(f"{HOST}/x", "--token=-a b", "--user-id=-1", "--password=", "--timeout=0.5", "--concurrency=2")

    assert read(*options.arguments()) == options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: url"),
        (["127.0.0.1:8040"], "is not http://HOST:PORT"),
        (["http://"], "is not http://HOST:PORT"),
        (["http://:8040"], "is not http://HOST:PORT"),
        (["http://host:port"], "is not http://HOST:PORT"),
        (["http://host:65536"], "is not http://HOST:PORT"),
        (["http://host:0"], "is not http://HOST:PORT"),
        (["http://[::1"], "is not http://HOST:PORT"),
        (["http://user:secret@host"], "is not http://HOST:PORT"),
        (["http://host/a b"], "is not http://HOST:PORT"),
        (["http://.host"], "is not http://HOST:PORT"),
        ([HOST, "--requests", "0"], "'0' is not a whole number from 1"),
        ([HOST, "--requests", "-1"], "'-1' is not a whole number"),
        ([HOST, "--requests", "1.5"], "'1.5' is not a whole number"),
        ([HOST, "--concurrency", "0"], "'0' is not a whole number"),
        ([HOST, "--concurrency", "301"], "--concurrency 301 is more than --requests 300"),
        ([HOST, "--timeout", "0"], "'0' is not a number of seconds above 0"),
        ([HOST, "--timeout", "-1"], "'-1' is not a number of seconds"),
        ([HOST, "--timeout", "nan"], "'nan' is not a number of seconds"),
        ([HOST, "--timeout", "inf"], "'inf' is not a number of seconds"),
        ([HOST, "--timeout", "soon"], "'soon' is not a number of seconds"),
        ([HOST, "--token", "a\nb"], "cannot be sent in a header"),
        ([HOST, "--token", ""], "cannot be sent in a header"),
        ([HOST, "--expires-time", "0"], "'0' is not a whole number"),
    ],
)
def test_bad_input_is_reported_and_exits_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*arguments)

    assert caught.value.code == 2
    assert said in capsys.readouterr().err


class Limit:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.now = (soft, hard)
        monkeypatch.setattr(resource, "getrlimit", lambda which: self.now)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, which: int, now: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        self.now = now


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (4096, 4096, 4096),
        (100, 4096, 364),
        (100, 364, 364),
        (100, resource.RLIM_INFINITY, 364),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_the_limit_of_open_files_is_raised_as_needed(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int
) -> None:
    limit = Limit(monkeypatch, soft, hard)

    read(HOST)

    assert limit.now == (raised, hard)


def test_a_hard_limit_too_low_is_reported_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Limit(monkeypatch, 100, 363)
    with pytest.raises(SystemExit) as caught:
        read(HOST)

    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "may open 363 files at most, and needs 364" in said
    assert "lower --concurrency, or raise the hard limit" in said


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("", 0),
        ("# a comment\n\n", 0),
        ('"""A docstring\n\nof three lines."""\n', 0),
        ("x = 1  # a comment\n", 1),
        ("x = 1", 1),
        ("x = [\n    1,\n    # a comment\n\n    2,\n]\n", 4),
        ('x = """text\n\nof two lines"""\n', 2),
        ('x = f"""text {1}\n\nof two lines"""\n', 2),
        ('def f() -> None:\n    """A docstring."""\n', 1),
        ('def f() -> None: """A docstring."""\n', 1),
        ("class É:\n    'One, ' 'in two parts.'\n    x = 'text'\n", 2),
        ("x = 1; y = 2\nif x:\n    pass\nelse:\n    pass\n", 5),
        ("x = 1 + \\\n    2\n", 2),
    ],
)
def test_lines_of_counts_code_only(source: str, lines: int, tmp_path: Path) -> None:
    file = tmp_path / "source.py"
    file.write_text(source, encoding="utf-8")

    assert common.lines_of(file) == lines


def test_lines_of_counts_the_clients_like_a_reader() -> None:
    clients = Path(common.__file__).parent

    assert 0 < common.lines_of(clients / "asyncio_client.py") < 40
    assert common.lines_of(clients / "__init__.py") == 0


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 50.0), (99, 99.0), (100, 100.0), (1, 1.0)], ids=["p50", "p99", "max", "least"]
)
def test_percentiles_are_measured_values(percent: int, value: float) -> None:
    assert common.percentile([float(number) for number in range(1, 101)], percent) == value


def test_one_value_is_every_percentile_and_without_values_there_is_none() -> None:
    assert [common.percentile([7.0], percent) for percent in (50, 99, 100)] == [7.0] * 3
    assert common.percentile([], 50) is None


def chained(*errors: Exception) -> Exception:
    for outer, inner in pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError("no"), "refused"),
        (OSError(errno.ECONNREFUSED, "no"), "refused"),
        (chained(ValueError("outer"), OSError("middle"), ConnectionRefusedError("no")), "refused"),
        (ConnectionResetError("no"), "reset"),
        (BrokenPipeError("no"), "reset"),
        (OSError(errno.ECONNABORTED, "no"), "reset"),
        (type("ServerDisconnectedError", (Exception,), {})("no"), "reset"),
        (TimeoutError(), "timeout"),
        (chained(ValueError("outer"), TimeoutError()), "timeout"),
        (OSError("no"), "other"),
        (OSError(errno.EMFILE, "no"), "other"),
        (ValueError("no"), "other"),
    ],
)
def test_the_first_known_error_of_a_chain_is_the_kind_of_failure(error: Exception, kind: str) -> None:
    found, text = common.failure(error, 2.0)

    assert found == kind
    assert text == "no complete response within 2 s" if kind == "timeout" else "no" in text


def test_a_cycle_of_errors_ends() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first

    assert common.failure(first, 1.0) == ("other", "first")


def test_an_error_is_reported_in_one_line() -> None:
    assert common.failure(ValueError("one\n  two"), 1.0) == ("other", "one two")
    assert common.failure(ValueError(), 1.0) == ("other", "ValueError")


def test_a_request_without_a_status_is_a_failure() -> None:
    load = common.Load(read(HOST))
    with load.request():
        pass

    assert (load.latencies_s, load.failures["status"]) == ([], 1)


def test_errors_outside_a_request_are_not_swallowed() -> None:
    load = common.Load(read(HOST))
    with pytest.raises(KeyboardInterrupt), load.request():
        raise KeyboardInterrupt

    assert sum(load.failures.values()) == 0
