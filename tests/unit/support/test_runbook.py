"""The runbook can be read as a program, and steps that would go untested are refused."""

from __future__ import annotations

import re
import textwrap

import pytest

from tests.support import ROOT, runbook

GOOD = """
# Runbook

| You see | Go to |
|---|---|
| nothing | [Site down](#site-down) |

| Write | For |
|---|---|
| `HOST` | a host |

## Site down

Look, then act:

```console
$ status --host HOST
host  state
web1  down since 12:30:01
[…]
# journalctl -t app  # fails while the journal is empty
```

### For good

```yaml
# inventory/production/hosts.yml
all: {hosts: {HOST: {}}}
```
"""


def page(text: str) -> runbook.Page:
    return runbook.parse(textwrap.dedent(text))


@pytest.mark.parametrize("name", [runbook.PAGE, runbook.BALANCER_PAGE, "docs/OWN_APP.md", "docs/INTERNET.md"])
def test_the_pages_can_be_read(name: str) -> None:
    assert runbook.parse((ROOT / name).read_text()).steps


def test_a_page_consists_of_sections_with_commands_settings_and_output() -> None:
    found = page(GOOD)
    assert [(section.level, section.title, len(section.steps)) for section in found.sections] == [
        (1, "Runbook", 0),
        (2, "Site down", 2),
        (3, "For good", 1),
    ]
    status, journal, hosts = found.steps
    assert isinstance(status, runbook.Command) and isinstance(journal, runbook.Command)
    assert (status.prompt, status.text, status.fails) == ("$ ", "status --host HOST", False)
    assert status.shown == ("host  state", "web1  down since 12:30:01")
    assert (journal.prompt, journal.fails, journal.shown) == ("# ", True, ())
    assert hosts == runbook.Setting(26, "inventory/production/hosts.yml", "all: {hosts: {HOST: {}}}\n")
    assert found.placeholders == {"HOST"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("all: {hosts: {HOST: {}}}\n```", "all: {}"), "line 26 of the page: this block is not closed"),
        (("while the journal is empty\n```", "\n```console"), "line 16 of the page: this block is not closed"),
        (
            ("# journalctl -t app  # fails while the journal is empty\n```", ""),
            "line 16 of the page: this block is not closed",
        ),
        (("```console\n$ status", "```sh\n$ status"), "line 16 of the page: a block of sh is neither console nor yaml"),
        (("```console\n$ status", "```\n$ status"), "line 16 of the page: a block of no language is neither"),
        (
            ("```console\n$ status", "```console\nstatus"),
            "line 16 of the page: the first line of this block must be a command",
        ),
        (
            ("# inventory/production/hosts.yml\n", ""),
            "line 26 of the page: the first line of this block must be a comment",
        ),
        (("--host HOST", "--host PERSON"), "line 17 of the page: no table of the page says what to write for PERSON"),
        (
            ("all: {hosts: {HOST: {}}}", "all: {hosts: {NODE: {}}}"),
            "line 26 of the page: no table of the page says .* NODE",
        ),
        (("### For good", "### Site down"), "line 24 of the page: there are two sections 'Site down'"),
        (
            ("### For good", "## Empty\n\n## For good"),
            "line 24 of the page: the section 'Empty' has no command to run",
        ),
        (
            ("Look, then act", "Look with `status --all`, then act"),
            "line 14 of the page: `status --all` is a command outside a block",
        ),
        (("(#site-down)", "(#site-up)"), "line 6 of the page: there is no section #site-up"),
        (("# Runbook", "```console\n$ status\n```\n# Runbook"), "line 2 of the page: this block is in no section"),
    ],
)
def test_an_incomplete_page_is_refused_with_the_line(change: tuple[str, str], said: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(runbook.PageError, match=said):
        page(GOOD.replace(*change, 1))


@pytest.mark.parametrize(
    ("shown", "output", "lacking"),
    [
        ("web1  down since 12:30:01", "web1 down since 7:5:59", False),
        ("dcf077cdf43b (gevent)", "web1: 8a86caa78b93\n   (gevent) serves", False),
        ("dcf077cdf43b", "8a86caa78b9", True),
        ("stopped …: start it", "stopped by root (pid 3): start it", False),
        ("[…] 3 MB free […]", "has 2 MB free, but", False),
        ("200 OK", "200 ok", True),
        ("a+b", "aab", True),
    ],
)
def test_output_may_differ_from_the_page_only_in_numbers_ids_and_line_breaks(
    shown: str, output: str, lacking: bool
) -> None:
    assert bool(runbook.unseen([shown], output)) is lacking


class Machine:
    """Runs commands with given answers, as a shell would: 127 for all others."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = answers
        self.ran: list[str] = []

    def __call__(self, command: str) -> tuple[int, str]:
        self.ran.append(command)
        return self.answers.get(command.split()[0], (127, "command not found"))


def run(section: runbook.Section, machine: Machine, **values: str) -> list[runbook.Step]:
    shells = {runbook.CONTROLLER: machine, runbook.HOST: machine}
    return list(runbook.run(section, values, shells, lambda file, text: machine.ran.append(f"{file}: {text}")))


SEEN = (0, "host state\nweb1 down since 1:2:3")


def test_a_section_is_run_exactly_with_the_placeholders_replaced() -> None:
    machine = Machine(status=SEEN, journalctl=(1, ""))
    sections = page(GOOD).sections
    done = [step for section in sections for step in run(section, machine, HOST="web1")]
    assert done == page(GOOD).steps
    assert machine.ran == [
        "status --host web1",
        "journalctl -t app  # fails while the journal is empty",
        "inventory/production/hosts.yml: all: {hosts: {web1: {}}}\n",
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        # A missing program has not failed as the page says, but never ran.
        ({"status": SEEN}, "line 21 of the page: `journalctl .*` ended with 127, the page says another"),
        ({"journalctl": (1, "")}, "line 17 of the page: `status --host web1` ended with 127, the page says 0"),
        (
            {"status": SEEN, "journalctl": (0, "")},
            "line 21 of the page: `journalctl .*` ended with 0, the page says another",
        ),
        (
            {"status": (0, "host state"), "journalctl": (1, "")},
            r"line 17 of the page: .* did not print \['web1  down since",
        ),
    ],
)
def test_a_command_that_contradicts_the_page_is_reported_with_its_line(
    answers: dict[str, tuple[int, str]], said: str
) -> None:
    with pytest.raises(runbook.PageError, match=said):
        run(page(GOOD).sections[1], Machine(**answers), HOST="web1")


def test_a_placeholder_without_a_value_is_reported() -> None:
    with pytest.raises(runbook.PageError, match="the test has no value for HOST"):
        run(page(GOOD).sections[1], Machine(status=SEEN))


@pytest.mark.parametrize("name", [runbook.PAGE, runbook.BALANCER_PAGE])
def test_a_runbook_names_only_variables_that_exist(name: str) -> None:
    named = set(re.findall(r"\b(?:flask_uwsgi|load_balancer)_\w+", (ROOT / name).read_text()))
    defaults = "".join(
        (ROOT / f"roles/{role}/defaults/main.yml").read_text() for role in ("flask_uwsgi", "load_balancer")
    )
    assert named - set(re.findall(r"^(\w+):", defaults, re.MULTILINE)) == set()


@pytest.mark.parametrize("name", [runbook.PAGE, runbook.BALANCER_PAGE])
def test_a_runbook_is_complete(name: str) -> None:
    found = runbook.parse((ROOT / name).read_text())
    assert len(found.steps) > 50
    assert found.placeholders
    for line, link in found.links:
        page, _, wanted = link.partition("#")
        if page:
            assert (ROOT / "docs" / page).exists(), f"{name}:{line}: {link}"
            titles = re.findall(r"^#+ (.+)", (ROOT / "docs" / page).read_text(), re.MULTILINE)
            assert not wanted or wanted in map(runbook.anchor, titles), f"{name}:{line}: {link}"
