import shutil
import subprocess

import pytest

from sandbox.image import SETUP, identity, recipe


def test_the_same_recipe_has_the_same_name_in_any_checkout() -> None:
    elsewhere = [part.replace(str(SETUP.parent), "/elsewhere") for part in recipe("bookworm")]
    assert elsewhere != recipe("bookworm")
    moved = [part.replace("/elsewhere", str(SETUP.parent)) for part in elsewhere]
    assert identity(moved, b"setup") == identity(recipe("bookworm"), b"setup")
    assert str(SETUP.parent) not in identity(recipe("bookworm"), b"")


def test_another_recipe_has_another_name() -> None:
    names = {identity(recipe(suite), setup) for suite in ("bookworm", "trixie") for setup in (b"1", b"2")}
    assert len(names) == 4


@pytest.mark.parametrize("package", ["gcc", "python3-venv", "python3-pip", "uwsgi"])
def test_the_image_is_a_plain_server_without_the_packages_that_roles_install(package: str) -> None:
    included = next(part for part in recipe("bookworm") if part.startswith("--include="))
    assert package not in included.removeprefix("--include=").split(",")


def test_the_setup_script_is_valid_shell() -> None:
    subprocess.run(["sh", "-n", SETUP], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--shell=sh", SETUP], check=True)
