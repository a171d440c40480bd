import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.support import ROOT
from tests.support.clone import tracked_files

# In pieces, so that this file does not name them either.
HOSTS = [
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("galaxy", "ansible", "com"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("registry", "npmjs", "org"),
    )
]
FOLDERS = ["root", "work", "home"]
FORBIDDEN = re.compile(
    "|".join([*map(re.escape, HOSTS), rf"(?<![\w.~}}-])/(?:{'|'.join(FOLDERS)})/(?=[\w.])"]), re.IGNORECASE
)


def texts() -> dict[Path, str]:
    """Return the text files of the repository with their contents."""
    found = {}
    for file in tracked_files():
        if (ROOT / file).is_symlink():
            continue
        content = (ROOT / file).read_bytes()
        if b"\0" not in content:
            found[file] = content.decode(errors="replace")
    return found


def test_no_file_names_a_package_registry_or_a_path_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{file}:{number}: {match[0]}"
        for file, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := FORBIDDEN.search(line))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "forbidden"),
    [
        (f"index = https://{HOSTS[0]}/simple", True),
        (f"https://files.{HOSTS[1]}/x", True),
        (f'"/{FOLDERS[0]}/.cache"', True),
        (f"cd /{FOLDERS[1]}/main", True),
        (f"(/{FOLDERS[2]}/me)", True),
        (f"{{{{ playbook_dir }}}}/{FOLDERS[1]}/main", False),
        (f"~/{FOLDERS[1]}/main", False),
        (f"net{FOLDERS[1]}/x, frame/{FOLDERS[1]}/x", False),
        (f"the /{FOLDERS[2]}", False),
    ],
)
def test_the_search_finds_what_it_should(line: str, forbidden: bool) -> None:
    assert bool(FORBIDDEN.search(line)) is forbidden


def test_every_text_ends_with_a_newline_and_contains_no_carriage_return() -> None:
    fixtures = [file for file in texts() if "fixtures" in file.parts]
    for file, text in texts().items():
        # Kept byte for byte as a program printed them, or as the article has them.
        if file in fixtures or file.name == "data.txt":
            continue
        assert not text or text.endswith("\n"), file
        assert "\r" not in text, file


def test_no_symbolic_link_leads_out_of_the_repository() -> None:
    for file in tracked_files():
        path = ROOT / file
        if path.is_symlink():
            assert not path.readlink().is_absolute(), file
            assert path.resolve().is_relative_to(ROOT.resolve()), file


LOCKS = sorted(file for file in tracked_files() if (ROOT / file).with_suffix(".in").is_file())


def test_every_lock_exists() -> None:
    inputs = {file for file in tracked_files() if file.suffix == ".in"}
    assert {file.with_suffix(".txt") for file in inputs} <= set(LOCKS)
    assert len(LOCKS) >= 4


@pytest.mark.parametrize("lock", [file for file in LOCKS if file.suffix == ".txt"], ids=str)
def test_a_lock_pins_and_hashes_everything_and_names_no_index(lock: Path) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = re.sub(r"\\\n", " ", text).splitlines()
    for entry in entries:
        if entry.strip() and not entry.strip().startswith("#"):
            assert not entry.startswith("-"), entry
            assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.+!-]+\s", entry), entry[:80]
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


@pytest.mark.parametrize("lock", [file for file in LOCKS if file.suffix == ".txt"], ids=str)
def test_a_lock_contains_what_its_input_asks_for(lock: Path) -> None:
    locked = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", text(lock), re.M)}
    wanted = re.findall(r"^([A-Za-z][\w.-]*)", text(lock.with_suffix(".in")), re.M)
    assert {canonicalize_name(name) for name in wanted} <= locked


def text(file: Path) -> str:
    return (ROOT / file).read_text()
