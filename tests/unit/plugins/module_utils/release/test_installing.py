"""Wheels are installed as pip installs them, by a process that imports nothing of them."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import installing

from tests.unit.plugins.modules.test_release import library, wheel

pytestmark = pytest.mark.usefixtures("umask")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Make an empty environment."""
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return tmp_path / "venv"


def install(venv: Path, *wheels: Path) -> str:
    """Install wheels as the module does, and return what it complained of."""
    command = [sys.executable, "-I", "-S", "-c", inspect.getsource(installing), venv, library(venv.parent), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stderr), done.stderr
    return done.stderr


def site(venv: Path) -> Path:
    return next((venv / "lib").glob("python*/site-packages"))


def test_each_file_goes_where_its_scheme_leads(venv: Path) -> None:
    files = {
        "shop.py": "def main():\n    import sys\n    print(sys.prefix, sys.argv[0])\n",
        "shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop:main\n\n[other]\nx = not a command\n",
        "shop-1.0.data/scripts/manage": "#!python -u\nimport shop\nshop.main()\n",
        "shop-1.0.data/scripts/binary": "\x7fELF",
        "shop-1.0.data/purelib/shop_pure.py": "",
        "shop-1.0.data/platlib/shop_plat.py": "",
        "shop-1.0.data/headers/shop.h": "",
        "shop-1.0.data/data/share/shop/words": "x",
    }
    assert install(venv, wheel(venv.parent, "shop", files)) == ""
    installed = {str(path.relative_to(venv)) for path in venv.rglob("*") if path.is_file()}
    packages = site(venv).relative_to(venv)
    assert installed >= {
        f"{packages}/shop.py", f"{packages}/shop_pure.py", f"{packages}/shop_plat.py", "share/shop/words",
        f"include/site/{packages.parent.name}/shop/shop.h", "bin/manage", "bin/shop", "bin/binary",
    }  # fmt: skip
    done = subprocess.run([venv / "bin/shop"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{venv} {venv}/bin/shop\n"
    assert (venv / "bin/manage").read_text().startswith(f"#!{venv}/bin/python\n")
    assert (venv / "bin/binary").read_text() == "\x7fELF"
    code = "import importlib.metadata as m; print(m.version('shop'), all(f.locate().exists() for f in m.files('shop')))"
    done = subprocess.run([venv / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0 True\n"
    assert (site(venv) / "shop-1.0.dist-info/INSTALLER").read_text() == "flaskops\n"


def test_a_command_runs_from_a_long_path_with_spaces(tmp_path: Path) -> None:
    venv = tmp_path / ("a folder " * 20).strip() / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", venv], check=True)
    files = {
        "shop.py": "def main(): print(42)\n",
        "shop-1.0.dist-info/entry_points.txt": "[console_scripts]\ns=shop:main\n",
    }
    assert install(venv, wheel(tmp_path, "shop", files)) == ""
    assert subprocess.run([venv / "bin/s"], capture_output=True, text=True, check=True).stdout == "42\n"


def test_wheels_share_a_namespace(venv: Path) -> None:
    shared = {"space/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"}
    one = wheel(venv.parent, "one", {**shared, "space/one.py": ""})
    two = wheel(venv.parent, "two", {**shared, "space/two.py": ""})
    assert install(venv, one, two) == ""
    subprocess.run([venv / "bin/python", "-c", "import space.one, space.two"], check=True)


def test_bytecode_of_a_wheel_is_left_out(venv: Path) -> None:
    tag = sys.implementation.cache_tag
    files = {"shop.py": "", f"__pycache__/shop.{tag}.pyc": "evil"}
    assert install(venv, wheel(venv.parent, "shop", files)) == ""
    assert not (site(venv) / "__pycache__").exists()


@pytest.mark.parametrize("name", ["../evil.py", "shop-1.0.data/scripts/../../evil", "/evil.py"])
def test_a_file_that_leads_out_of_its_folder_is_refused(venv: Path, name: str) -> None:
    said = install(venv, path := wheel(venv.parent, "shop", {name: ""}))
    assert said.startswith(f"{path.name} cannot be installed: ") and "Traceback" not in said
    assert not list(venv.rglob("evil*")) and not (venv / "lib/evil.py").exists()


def test_a_command_replaces_the_script_of_its_name(venv: Path) -> None:
    files = {
        "shop.py": "def main(): print('command')\n",
        "shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop:main\n",
        "shop-1.0.data/scripts/shop": "#!python\nprint('script')\n",
        "shop-1.0.data/scripts/other": "#!python\nprint('other')\n",
    }
    assert install(venv, wheel(venv.parent, "shop", files)) == ""
    assert subprocess.run([venv / "bin/shop"], capture_output=True, text=True, check=True).stdout == "command\n"
    assert "print('other')" in (venv / "bin/other").read_text()


def test_the_data_of_a_wheel_is_found_in_any_spelling(venv: Path) -> None:
    files = {"My.Shop-1.0.data/scripts/shop": "#!python\n", "My.Shop-1.0.data/data/etc/shop.conf": ""}
    assert install(venv, wheel(venv.parent, "my_shop", files)) == ""
    assert (venv / "bin/shop").is_file() and (venv / "etc/shop.conf").is_file()
    assert not list(site(venv).glob("*.data"))


def test_what_entry_points_say_twice_is_said_once(venv: Path) -> None:
    points = "[shop.plugins]\na = 100 %\na = 2\n\n[console_scripts]\ns = shop:old\ns = shop:main\n"
    files = {"shop.py": "def main(): print(42)\n", "shop-1.0.dist-info/entry_points.txt": points}
    assert install(venv, wheel(venv.parent, "shop", files)) == ""
    assert subprocess.run([venv / "bin/s"], capture_output=True, text=True, check=True).stdout == "42\n"


def test_a_refusal_without_words_is_named(venv: Path) -> None:
    path = wheel(venv.parent, "shop", {"shop-1.0.dist-info/entry_points.txt": "[console_scripts]\ns = shop\n"})
    assert install(venv, path) == f"{path.name} cannot be installed: AssertionError\n"


def test_a_damaged_wheel_is_reported_by_name(venv: Path) -> None:
    path = wheel(venv.parent, "shop", {"shop.py": "x" * 1000})
    path.write_bytes(path.read_bytes()[:500])
    assert install(venv, path) == "shop-1.0-py3-none-any.whl cannot be installed: File is not a zip file\n"
