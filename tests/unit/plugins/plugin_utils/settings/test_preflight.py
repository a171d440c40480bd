import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.preflight import (
    FIXED_KEYS,
    MANAGED_KEYS,
    files_per_worker,
    host_problems,
    open_files,
    package_problems,
    preflight_problems,
    settings_problems,
    source_problems,
    tasks,
    value_problems,
)

from tests.support import ROOT

ROLE = ROOT / "roles" / "flask_uwsgi"
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
OPTIONS: dict[str, Any] = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"][
    "options"
]
NAMES = [name.removeprefix("flask_uwsgi_") for name in OPTIONS]


@pytest.fixture
def s(tmp_path: Path) -> dict[str, Any]:
    """Return the role's defaults with an application: settings without problems."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "run.py").write_text("")
    own = {
        "source": str(source),
        "user": "shop",
        "group": "shop",
        "health_path": "/healthz",
        "environment": {"TOKEN_FILE": "/x", "_a1": ""},
        "extra_ini": {"max-requests": 1000},
        # The numbers that the tests calculate with.
        "mode": "gevent",
        "processes": 4,
        "gevent": 3000,
        "threads": 256,
        "backlog": 4096,
        "port": 8040,
        "min_free_mb": 200,
    }
    settings = {name: own.get(name, DEFAULTS[f"flask_uwsgi_{name}"]) for name in NAMES}
    assert not [name for name, value in settings.items() if "{{" in str(value)]
    return settings


@pytest.fixture
def host() -> dict[str, Any]:
    """Return a host without problems."""
    return {
        "distribution": "debian",
        "version": "12",
        "systemd": True,
        "package_manager": "apt",
        "program_type": "",
        "systemd_version": 252,
        "python": "3.11",
        "interpreter": "/usr/bin/python3",
        "libpython": True,
        "missing_packages": [],
        "shared_mounts": True,
        "nofile": 20_000,
        "file_max": 10**6,
        "tasks": 32_768,
        "somaxconn": 4096,
        "addresses": ["127.0.0.1", "192.0.2.7"],
        "ipv6": True,
        "free_mb": 10_000,
    }


def one(problems: Any, *words: str) -> str:
    """Return the only problem, which must contain all the words."""
    found = list(problems)
    assert len(found) == 1, found
    for word in words:
        assert word in found[0], (word, found[0])
    return str(found[0])


def test_valid_settings_have_no_problem(s: dict[str, Any]) -> None:
    assert settings_problems(s) == []


def test_values_from_the_command_line_are_strings_and_accepted(s: dict[str, Any]) -> None:
    texts = {name: value if isinstance(value, dict | list) else str(value) for name, value in s.items()}
    assert settings_problems(texts) == []


@pytest.mark.parametrize("mode", ["geven", "", "Threads", None, ["gevent"]])
def test_an_invalid_mode_is_reported_with_the_valid_ones(s: dict[str, Any], mode: Any) -> None:
    one(value_problems({**s, "mode": mode}), f"flask_uwsgi_mode={mode} ", "set it to gevent or threads")


NUMBERS = sorted(
    name.removeprefix("flask_uwsgi_") for name, spec in OPTIONS.items() if spec["type"] in ("int", "float")
)
WHOLE = [name for name in NUMBERS if OPTIONS[f"flask_uwsgi_{name}"]["type"] == "int"]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_may_be_at_its_documented_limits_and_not_beyond(s: dict[str, Any], name: str) -> None:
    documented = re.findall(r"(\d+) to (\d+)\b", str(OPTIONS[f"flask_uwsgi_{name}"]["description"]))
    ((low, high),) = [(int(low), int(high)) for low, high in documented]
    for fine in (low, high, str(low)):
        assert list(value_problems({**s, name: fine})) == []
    for wrong in (low - 1, high + 1, "eight", "", None, "1e", [1], "nan"):
        one(value_problems({**s, name: wrong}), f"flask_uwsgi_{name}={wrong} ", f"from {low} to {high}")


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", ["2.5", True])
def test_a_count_is_a_whole_number(s: dict[str, Any], name: str, value: Any) -> None:
    one(value_problems({**s, name: value}), f"flask_uwsgi_{name}={value} ", "set it to a whole number from")


def test_seconds_of_the_canary_may_be_a_fraction(s: dict[str, Any]) -> None:
    assert list(value_problems({**s, "canary_seconds": "0.05"})) == []


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("app_name", "Shop", "a letter first"),
        ("app_name", "1shop", "a letter first"),
        ("app_name", "shop.old", "a-z, 0-9, _ and -"),
        ("app_name", "shop\n", "a-z, 0-9, _ and -"),
        ("app_name", "s" * 31, "at most 30"),
        ("app_name", "", "a-z"),
        ("app_name", "../etc", "a-z"),
        ("user", "Shop", "a valid account name"),
        ("user", "u" * 33, "a valid account name"),
        ("group", "a b", "a valid group name"),
        ("health_path", "healthz", "a path that starts with /"),
        ("health_path", "/a b", "a path that starts with /"),
        ("health_host", "", "a host name or an address"),
        ("health_host", "a b", "a host name or an address"),
        ("health_host", "a\r\nX: y", "a host name or an address"),
        ("health_host", "http://a", "a host name or an address"),
        ("bind", "localhost", "0.0.0.0 (all addresses of IPv4), [::] (IPv4 and IPv6), one address"),
        ("bind", "", "0.0.0.0"),
        ("socket_group", "www data", "the group that may connect"),
    ],
)
def test_an_invalid_text_is_reported_with_what_is_valid(s: dict[str, Any], name: str, value: str, remedy: str) -> None:
    one(value_problems({**s, name: value}), f"flask_uwsgi_{name}={value} is not valid: set it to ", remedy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bind", "999.1.1.1"),
        # http.client sends nothing but ASCII: the swap would end in a UnicodeEncodeError.
        ("health_path", "/zustand/ä"),
        # The canary of an app `shop` has the units and the runtime directory of an app `shop-canary`.
        ("app_name", "shop-canary"),
        ("app_name", "shop-relief"),
        ("app_name", "shop-check"),
    ],
)
def test_a_text_that_cannot_work_is_reported_before_anything_changes(s: dict[str, Any], name: str, value: str) -> None:
    one(value_problems({**s, name: value}), f"flask_uwsgi_{name}={value}")


@pytest.mark.parametrize("name", ["extra_ini", "unit_overrides"])
@pytest.mark.parametrize("value", ["a=1", ["a"], None, ""])
def test_a_dictionary_must_be_a_dictionary(s: dict[str, Any], name: str, value: Any) -> None:
    one(value_problems({**s, name: value}), f"flask_uwsgi_{name}={value} is not valid: set it to a dictionary")


def test_an_environment_that_is_not_a_dictionary_is_not_shown(s: dict[str, Any]) -> None:
    message = "flask_uwsgi_environment, whose value may be a secret, is not valid: set it to a dictionary"
    one(value_problems({**s, "environment": "TOKEN=hunter2"}), message)


def test_all_values_that_are_not_dictionaries_are_reported(s: dict[str, Any]) -> None:
    wrong = {"environment": "a", "extra_ini": {"socket": ":1"}, "unit_overrides": []}
    assert len(list(value_problems({**s, **wrong}))) == 3


@pytest.mark.parametrize(("key", "variable"), MANAGED_KEYS.items())
def test_a_uwsgi_key_with_a_variable_is_reported_with_the_variable(s: dict[str, Any], key: str, variable: str) -> None:
    one(value_problems({**s, "extra_ini": {key: 1}}), f"flask_uwsgi_extra_ini has {key!r}", f"set {variable} instead")


def test_every_recommended_variable_exists() -> None:
    assert set(MANAGED_KEYS.values()) <= DEFAULTS.keys()


@pytest.mark.parametrize("key", sorted(FIXED_KEYS))
def test_a_key_that_the_service_depends_on_is_refused(s: dict[str, Any], key: str) -> None:
    one(value_problems({**s, "extra_ini": {key: 1}}), f"flask_uwsgi_extra_ini has {key!r}", "remove it")


@pytest.mark.parametrize("name", ["1A", "A-B", "A B", "", "A=B", "É"])
def test_an_invalid_name_of_an_environment_variable_is_reported(s: dict[str, Any], name: str) -> None:
    problem = one(
        value_problems({**s, "environment": {name: "hidden"}}), "flask_uwsgi_environment", repr(name), "rename"
    )
    assert "hidden" not in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "/opt/shop/current/release/evil.so"),
        ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2 /opt/evil.so"),
        ("LD_LIBRARY_PATH", "/usr/lib/../../opt/shop"),
        ("LD_LIBRARY_PATH", "lib/evil"),
        ("LD_LIBRARY_PATH", "/usr/lib::/usr/local/lib"),
        ("LD_AUDIT", "$ORIGIN/evil.so"),
    ],
)
def test_a_variable_of_the_loader_must_not_lead_into_a_release(s: dict[str, Any], name: str, value: str) -> None:
    found = one(
        value_problems({**s, "environment": {name: value}}), "flask_uwsgi_environment", repr(name), "below /usr"
    )
    assert value not in found


def test_a_library_of_the_system_may_be_preloaded(s: dict[str, Any]) -> None:
    given = {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "LD_LIBRARY_PATH": "/usr/lib:/usr/local/lib"}
    assert list(value_problems({**s, "environment": given})) == []


def test_secrets_are_checked(s: dict[str, Any]) -> None:
    assert list(value_problems({**s, "secrets": {"key.pem": "x"}})) == []
    wrong = {"secrets": {"key.pem": "hidden"}, "secrets_in_environment": "yes"}
    assert "hidden" not in one(value_problems({**s, **wrong}), "flask_uwsgi_secrets has 'key.pem'")
    one(value_problems({**s, "secrets": {"TOKEN_FILE": "x"}}), "which is also in flask_uwsgi_environment")


def test_a_missing_source_is_the_only_problem_of_the_files(s: dict[str, Any]) -> None:
    one(
        settings_problems({**s, "source": "/nonexistent", "requirements": "/nonexistent/requirements.txt"}),
        "flask_uwsgi_source=/nonexistent is not a directory",
        "set it to the folder that holds your application",
    )


@pytest.mark.parametrize("source", ["", None])
def test_a_source_that_is_not_set_is_reported(s: dict[str, Any], source: str | None) -> None:
    one(
        settings_problems({**s, "source": source}),
        "flask_uwsgi_source is not set: set it to your application: a folder, a wheel or an sdist on the controller, a "
        "package as NAME==VERSION, or a git repository as git+URL@REF",
    )


def test_a_missing_wsgi_file_is_reported_with_the_source(s: dict[str, Any]) -> None:
    one(
        settings_problems({**s, "wsgi_file": "wsgi.py"}),
        f"flask_uwsgi_wsgi_file=wsgi.py does not exist in flask_uwsgi_source={s['source']}: set it to the file",
    )


def test_a_wsgi_file_outside_the_source_is_reported(s: dict[str, Any]) -> None:
    one(settings_problems({**s, "wsgi_file": __file__}), "flask_uwsgi_wsgi_file=")


def test_a_wsgi_file_is_not_required_with_a_module(s: dict[str, Any]) -> None:
    assert settings_problems({**s, "wsgi_file": "none.py", "module": "shop:app"}) == []


def test_missing_requirements_are_reported(s: dict[str, Any]) -> None:
    one(
        settings_problems({**s, "requirements": "none.txt"}),
        "flask_uwsgi_requirements=none.txt does not exist on the controller",
        "set it to a requirements file or pyproject.toml, relative to flask_uwsgi_source",
    )


def test_requirements_are_relative_to_the_source_or_absolute(s: dict[str, Any], tmp_path: Path) -> None:
    for file in (tmp_path / "app" / "inside.txt", tmp_path / "outside.txt"):
        file.touch()
    for fine in ("inside.txt", "../outside.txt", str(tmp_path / "outside.txt")):
        assert settings_problems({**s, "requirements": fine}) == []


@pytest.mark.parametrize("source", ["shop==1.4", "shop-1.4-py3-none-any.whl", "shop-1.4.tar.gz"])
def test_a_package_needs_a_module(
    s: dict[str, Any], source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / source).touch()
    one(
        source_problems({**s, "source": source, "wsgi_file": "run.py"}),
        f"flask_uwsgi_module is empty, and flask_uwsgi_source={source}",
        "set it to the WSGI application in the package, as package.module:name",
    )
    assert list(source_problems({**s, "source": source, "module": "shop:app"})) == []


def test_the_content_of_a_repository_is_not_checked_before_the_checkout(s: dict[str, Any]) -> None:
    git = {**s, "source": "git+https://example.org/shop.git@v1", "wsgi_file": "w.py", "requirements": "r.txt"}
    assert settings_problems(git) == []
    one(settings_problems({**git, "wsgi_file": "../w.py"}), "flask_uwsgi_wsgi_file=../w.py does not exist")
    one(settings_problems({**git, "requirements": "/nonexistent/r.txt"}), "flask_uwsgi_requirements=/nonexistent/r.txt")


@pytest.mark.parametrize("name", ["packages", "build_packages"])
def test_what_is_no_name_of_any_package_is_reported(s: dict[str, Any], name: str) -> None:
    assert list(package_problems({**s, name: ["libpq5", "g++", "libstdc++6", "python3.11", "python3-PyYAML"]})) == []
    for wrong in ("libpq5; reboot", "-y", "libpq5=1.2", "@web", "", "libpq5\n"):
        one(package_problems({**s, name: ["gcc", wrong]}), f"flask_uwsgi_{name} has {wrong!r}", "correct it")
    one(package_problems({**s, name: "libpq5"}), f"flask_uwsgi_{name}=libpq5 is not valid: set it to a list")


@pytest.mark.parametrize("name", ["packages", "build_packages"])
def test_the_names_of_packages_are_those_of_the_host(s: dict[str, Any], host: dict[str, Any], name: str) -> None:
    rpm = {**s, name: ["gcc", "python3-PyYAML", "a"]}
    problems = list(host_problems(rpm, host, app()))
    assert problems == [
        f"flask_uwsgi_{name} has {wrong!r}, which is no name of a Debian package, and this host has apt: correct it"
        for wrong in ("python3-PyYAML", "a")
    ]
    assert list(host_problems(rpm, {**host, "package_manager": "dnf"}, app())) == []


def test_a_base_directory_whose_programs_cannot_be_started_is_reported(s: dict[str, Any], host: dict[str, Any]) -> None:
    assert list(host_problems(s, {**host, "program_type": "bin_t"}, app())) == []
    problems = host_problems({**s, "base_dir": "/srv"}, {**host, "program_type": "var_t"}, app())
    one(problems, "flask_uwsgi_base_dir=/srv is a directory whose programs SELinux labels var_t", "semanage fcontext")


def test_all_problems_of_the_settings_are_reported_together(s: dict[str, Any]) -> None:
    wrong = {
        "mode": "x",
        "port": 0,
        "processes": "many",
        "bind": "here",
        "extra_ini": {"socket": ":1", "listen": 1},
        "environment": {"1": ""},
        "wsgi_file": "none.py",
        "requirements": "none.txt",
        "packages": ["@web"],
    }
    problems = settings_problems({**s, **wrong})
    assert len(problems) == len(wrong) + 1
    assert len(set(problems)) == len(problems)


# The host.


def app(*strangers: dict[str, Any], **known: Any) -> dict[str, Any]:
    """Return the state of an application of which nothing is on the host."""
    nothing: dict[str, Any] = {
        "strangers": list(strangers),
        "foreign": [],
        "neighbours": {},
        "owner": None,
        "accounts": {"user": None, "group": None, "processes": [], "applications": []},
        "applications": [],
        "directories": {"above": [], "noexec": False},
        "socket": {},
    }
    return nothing | known


def problems_of(s: dict[str, Any], host: dict[str, Any], *strangers: dict[str, Any]) -> list[str]:
    return preflight_problems({"host": host, "app": app(*strangers)}, s)


def test_a_host_that_fits_has_no_problem(s: dict[str, Any], host: dict[str, Any]) -> None:
    assert problems_of(s, host) == []
    assert problems_of({**s, "processes": "4", "gevent": "3000", "backlog": "4096", "min_free_mb": "200"}, host) == []


def test_what_a_host_lacks_is_a_problem(s: dict[str, Any], host: dict[str, Any]) -> None:
    one(problems_of(s, {**host, "systemd": False}), "lacks systemd as its first process", "use a host that has it")


@pytest.mark.parametrize("value", ["", "deny", True, None])
def test_an_answer_to_untested_distributions_that_is_none_is_reported(s: dict[str, Any], value: Any) -> None:
    one(value_problems({**s, "untested": value}), f"flask_uwsgi_untested={value} is not valid", "allow or refuse")


def test_secrets_on_a_host_without_credentials_support_are_reported(s: dict[str, Any], host: dict[str, Any]) -> None:
    closed = {**host, "shared_mounts": False}
    assert problems_of(s, closed) == []
    one(problems_of({**s, "secrets": {"A": "1"}}, closed), "flask_uwsgi_secrets", "run `mount --make-rshared /`")
    assert problems_of({**s, "secrets": {"A": "1"}}, host) == []


def test_too_few_open_files_are_reported_with_a_sufficient_number(s: dict[str, Any], host: dict[str, Any]) -> None:
    problem = one(
        problems_of(s, {**host, "nofile": 4096}),
        "flask_uwsgi_gevent=3000 needs 6256 open files in each worker, and this host allows 4096",
        "set it to 1920 or less",
        "LimitNOFILE",
    )
    assert "threads" not in problem
    assert problems_of({**s, "gevent": 1920}, {**host, "nofile": 4096}) == []
    assert problems_of({**s, "gevent": 1921}, {**host, "nofile": 4096})


def test_threads_need_one_more_descriptor_each(s: dict[str, Any], host: dict[str, Any]) -> None:
    threads = {**s, "mode": "threads", "threads": 1000, "processes": 1}
    one(problems_of(threads, {**host, "nofile": 3255}), "flask_uwsgi_threads=1000", "needs 3256", "set it to 999 or")
    assert problems_of(threads, {**host, "nofile": 3256}) == []


def test_a_worker_may_open_what_any_program_may() -> None:
    assert [open_files("threads", 8), open_files("threads", 256), open_files("gevent", 3000)] == [1024, 1024, 6256]


@pytest.mark.parametrize(("mode", "cores"), [("gevent", 100), ("gevent", 200), ("threads", 150)])
def test_the_sufficient_number_is_the_largest(s: dict[str, Any], host: dict[str, Any], mode: str, cores: int) -> None:
    enough = cores - 1
    host["nofile"] = files_per_worker(mode, enough)
    one(problems_of({**s, "mode": mode, mode: cores}, host), f"set it to {enough} or less")


def test_no_number_is_offered_if_none_is_sufficient(s: dict[str, Any], host: dict[str, Any]) -> None:
    assert "set it to" not in one(problems_of(s, {**host, "nofile": 200}))


def test_a_low_limit_of_open_files_of_the_kernel_is_reported(s: dict[str, Any], host: dict[str, Any]) -> None:
    one(
        problems_of(s, {**host, "file_max": 25_000}),
        "flask_uwsgi_processes=4 × flask_uwsgi_gevent=3000 needs 25024 open files, and the kernel allows 25000",
        "lower one of them or raise fs.file-max",
    )


def test_too_few_tasks_are_reported(s: dict[str, Any], host: dict[str, Any]) -> None:
    one(
        problems_of({**s, "mode": "threads", "threads": 3000}, {**host, "tasks": 12_511}),
        "flask_uwsgi_processes=4 × flask_uwsgi_threads=3000 needs 12512 tasks, and this host allows 12511",
        "lower one of them, or raise the limit (nproc, kernel.pid_max)",
    )
    assert problems_of({**s, "mode": "threads", "threads": 3000}, {**host, "tasks": 12_512}) == []


def test_greenlets_are_not_tasks() -> None:
    assert tasks("gevent", 4, 3000) == tasks("gevent", 4, 1) < tasks("threads", 4, 256)


def test_there_is_room_for_executors_and_children() -> None:
    # ThreadPoolExecutor has up to 32 threads, gevent's own pool 10; a host of 32 cores may want as many children.
    assert tasks("gevent", 1, 100) >= 1 + 32 + 10 + 32
    assert tasks("threads", 4, 256) >= 4 * (256 + 32 + 10) + 32


@pytest.mark.parametrize(
    ("environment", "more"),
    [
        ({}, 0),
        ({"OMP_NUM_THREADS": 1}, 0),
        ({"OMP_NUM_THREADS": "8"}, 7),
        ({"OMP_NUM_THREADS": "4,2"}, 3),
        ({"OMP_NUM_THREADS": 2, "OPENBLAS_NUM_THREADS": 3}, 3),
        ({"OMP_NUM_THREADS": "many", "MKL_NUM_THREADS": "-1", "BLIS_NUM_THREADS": ""}, 0),
    ],
)
def test_there_is_room_for_threads_of_native_libraries(
    s: dict[str, Any], host: dict[str, Any], environment: dict[str, Any], more: int
) -> None:
    need = tasks("threads", 4, 256) + 4 * more
    assert tasks("threads", 4, 256, environment) == need
    asked = {**s, "mode": "threads", "environment": environment}
    assert problems_of(asked, {**host, "tasks": need}) == []
    one(problems_of(asked, {**host, "tasks": need - 1}), f"needs {need} tasks")


def test_a_backlog_above_somaxconn_is_reported_unless_the_role_may_raise_it(
    s: dict[str, Any], host: dict[str, Any]
) -> None:
    one(
        problems_of(s, {**host, "somaxconn": 128}),
        "flask_uwsgi_backlog=4096 is above net.core.somaxconn=128",
        "lower it, or set flask_uwsgi_manage_sysctl=true",
    )
    assert problems_of({**s, "manage_sysctl": True}, {**host, "somaxconn": 128}) == []


def test_a_disk_that_is_too_full_is_reported(s: dict[str, Any], host: dict[str, Any]) -> None:
    one(
        problems_of(s, {**host, "free_mb": 199}),
        "flask_uwsgi_base_dir=/opt has 199 MB free, flask_uwsgi_min_free_mb=200 are wanted",
        "free space there or choose another directory",
    )
    assert problems_of({**s, "min_free_mb": 0}, {**host, "free_mb": 0}) == []


def test_a_taken_port_is_reported_with_its_holder(s: dict[str, Any], host: dict[str, Any]) -> None:
    one(
        problems_of(s, host, {"pid": 42, "name": "nginx"}),
        "flask_uwsgi_port=8040 is taken by nginx (pid 42)",
        "stop that program or choose another port",
    )


def test_all_problems_of_a_host_are_reported_together(s: dict[str, Any], host: dict[str, Any]) -> None:
    small = {
        **host,
        "distribution": "plan9",
        "systemd": False,
        "nofile": 1024,
        "file_max": 1024,
        "tasks": 100,
        "somaxconn": 128,
        "free_mb": 1,
    }
    state = app({"pid": 1, "name": "a"}, {"pid": 2, "name": "b"})
    problems = list(host_problems(s, small, state))
    assert len(problems) == 8
    assert all(": " in problem for problem in problems)


@pytest.mark.parametrize("bind", ["0.0.0.0", "192.0.2.7", "127.0.0.1", "127.0.0.2"])
def test_an_address_of_the_host_is_accepted(s: dict[str, Any], host: dict[str, Any], bind: str) -> None:
    assert problems_of({**s, "bind": bind}, host) == []


def test_a_foreign_address_is_reported_with_those_of_the_host(s: dict[str, Any], host: dict[str, Any]) -> None:
    one(
        problems_of({**s, "bind": "192.0.2.8"}, host),
        "flask_uwsgi_bind=192.0.2.8 is no address of this host",
        "set it to 0.0.0.0, [::], or one of 127.0.0.1, 192.0.2.7",
    )


@pytest.mark.parametrize(
    "name",
    ["break_lock", "log_requests", "log_x_forwarded_for", "manage_sysctl", "preload", "secrets_in_environment"],
)
def test_a_value_that_is_neither_true_nor_false_is_reported(s: dict[str, Any], name: str) -> None:
    one(value_problems({**s, name: "perhaps"}), f"flask_uwsgi_{name}=perhaps", "set it to true or false")


@pytest.mark.parametrize(
    ("bind", "listen", "collides"),
    [
        ("0.0.0.0", "0.0.0.0:8040", True),
        ("127.0.0.1", "0.0.0.0:8040", True),
        ("0.0.0.0", "127.0.0.1:8040", True),
        ("127.0.0.1", "127.0.0.1:8040", True),
        ("127.0.0.1", "127.0.0.2:8040", False),
        ("0.0.0.0", "[::]:8040", True),
        ("[::]", "127.0.0.1:8040", True),
        ("0.0.0.0", "/run/books.sock", False),
        ("0.0.0.0", "0.0.0.0:8041", False),
    ],
)
def test_the_port_of_another_application_is_reported_even_while_it_is_stopped(
    s: dict[str, Any], host: dict[str, Any], bind: str, listen: str, collides: bool
) -> None:
    problems = list(host_problems(s | {"bind": bind}, host, app(neighbours={"books": listen})))
    if collides:
        one(problems, "flask_uwsgi_port=8040 belongs to the application books", "choose another port")
    else:
        assert problems == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"module": "shop"}, ("flask_uwsgi_module=shop is not valid", "set it to package.module: and a name")),
        ({"module": "shop:"}, ("flask_uwsgi_module=shop: is not valid, since it is no expression",)),
        ({"module": "1shop:app"}, ("flask_uwsgi_module=1shop:app is not valid: set",)),
        ({"module": "shop:create_app(config)"}, ("flask_uwsgi_module=", "since `config` is no literal")),
        ({"module": "shop:f(*[1])"}, ("flask_uwsgi_module=", "since `*[1]` is no literal")),
        ({"module": "shop:f(**{})"}, ("flask_uwsgi_module=", "since `**{}` is no literal")),
        ({"module": "shop:f(os.system('x'))"}, ("flask_uwsgi_module=", "is no literal")),
        ({"module": "shop:apps[0]"}, ("flask_uwsgi_module=", "since `apps[0]` is neither a name nor a call")),
        ({"module": "shop:a; b"}, ("flask_uwsgi_module=", "it is no expression")),
        ({"callable": ""}, ("flask_uwsgi_callable= is not valid", "create_app(")),
        ({"callable": "f(" * 90 + ")" * 90}, ("flask_uwsgi_callable=",)),
        ({"callable": "a\nb"}, ("flask_uwsgi_callable=",)),
        ({"callable": "a" * 501}, ("flask_uwsgi_callable=", "longer than 500")),
        ({"mount": "shop/"}, ("flask_uwsgi_mount=shop/ is not valid", "such as /shop")),
        ({"python_path": ["../x"]}, ("flask_uwsgi_python_path has '../x'", "name a folder in it")),
        ({"trusted_proxies": "10.0.0.5"}, ("flask_uwsgi_trusted_proxies=10.0.0.5 is not valid", "list of strings")),
        (
            {"trusted_proxies": ["lb1.example.org"]},
            ("flask_uwsgi_trusted_proxies has 'lb1.example.org'", "write one such as 10.0.0.5 or 10.0.1.0/28"),
        ),
        ({"trusted_proxies": ["10.0.0.5/8"]}, ("has '10.0.0.5/8'", "write 10.0.0.0/8, or the address alone")),
        ({"trusted_proxies": ["unix:/run/shop.sock"]}, ("neither an address nor a network", "or unix:")),
        ({"trusted_proxies": ["0.0.0.0/0"]}, ("has '0.0.0.0/0'", "trusts every client", "name the addresses")),
        ({"python_path": "src"}, ("flask_uwsgi_python_path=src is not valid", "list of strings")),
        ({"static": {"/static": "../../etc"}}, ("flask_uwsgi_static has /static=../../etc",)),
        ({"static": {"static": "static"}}, ("flask_uwsgi_static has static=static", "a path such as /static")),
        ({"static": {"/s": "shop:/etc"}}, ("flask_uwsgi_static has /s=shop:/etc",)),
        ({"static": {"/s": "$STATE_DIRECTORY/../x"}}, ("flask_uwsgi_static has /s=$STATE_DIRECTORY/../x",)),
        ({"static": {"/s": "$STATE_DIRECTORY"}}, ("flask_uwsgi_static has /s=$STATE_DIRECTORY", "below $STATE_")),
        ({"static": {"/s": "$STATE_DIRECTORY/"}}, ("flask_uwsgi_static has /s=$STATE_DIRECTORY/",)),
        ({"files": {"../a": ""}}, ("flask_uwsgi_files has '../a'",)),
        ({"environment": {"A": None}}, ("flask_uwsgi_environment has 'A', whose value is null",)),
        ({"extra_ini": {"max-requests": None}}, ("flask_uwsgi_extra_ini has max-requests=None",)),
        ({"pre_activate": "flask db upgrade"}, ("flask_uwsgi_pre_activate=", "list of strings")),
        ({"gevent_check": "maybe"}, ("flask_uwsgi_gevent_check=maybe is not valid", "enforce, warn or off")),
        ({"mode": "auto", "gevent_check": "off"}, ("flask_uwsgi_mode=auto needs the check",)),
        ({"mode": "auto", "gevent_check": False}, ("flask_uwsgi_mode=auto needs the check",)),
    ],
)
def test_settings_that_describe_an_application_are_checked(
    s: dict[str, Any], changed: dict[str, Any], words: tuple[str, ...]
) -> None:
    one(value_problems(s | changed), *words)


@pytest.mark.parametrize("way", ["app", "app.server", "create_app()", "f('a', {'b': [1, -2.5, None]}, c=True).wsgi"])
def test_the_ways_to_name_the_application_are_accepted(s: dict[str, Any], way: str) -> None:
    assert list(value_problems({**s, "callable": way})) == []
    assert list(value_problems({**s, "module": f"shop.web:{way}"})) == []


def test_the_ways_to_describe_it_are_accepted(s: dict[str, Any]) -> None:
    described = {
        "module": "shop.web:create_app()",
        "mount": "/shop",
        "python_path": ["src"],
        "trusted_proxies": ["10.0.0.5", "10.0.1.0/28"],
        "static": {"/static": "shop/static", "/assets": "shop:assets", "/made": "$STATE_DIRECTORY/static"},
        "health_host": "shop.example.org:8443",
        "files": {"conf.d/a.ini": "a = 1\n"},
        "pre_activate": ["flask --app shop db upgrade"],
        "health_path": "",
        "gevent_check": False,
    }
    assert list(value_problems(s | described)) == []
