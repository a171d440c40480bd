import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import cache


@pytest.fixture(autouse=True)
def sdist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the cache and dpkg's list below a temporary directory, and return an sdist."""
    monkeypatch.setattr(cache, "ROOT", tmp_path / "cache")
    monkeypatch.setattr(cache.packages, "DPKG", tmp_path / "status")
    (tmp_path / "status").write_text("Package: gcc\n")
    path = tmp_path / "shop-1.tar.gz"
    path.write_text("code")
    return path


def made(tmp_path: Path, content: str = "wheel") -> Path:
    path = tmp_path / "shop-1-py3-none-any.whl"
    path.write_text(content)
    return path


def test_a_built_wheel_is_found_again(tmp_path: Path, sdist: Path) -> None:
    key = cache.key(sdist, {}, [])
    assert cache.find(key) is None
    cache.keep(key, made(tmp_path))
    found = cache.find(cache.key(sdist, {}, []))
    assert found and (found.name, found.read_text()) == ("shop-1-py3-none-any.whl", "wheel")
    assert cache.ROOT.stat().st_mode & 0o777 == found.parent.stat().st_mode & 0o777 == 0o700


def test_every_input_of_a_build_changes_the_wheel(tmp_path: Path, sdist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, other = tmp_path / "pip.whl", tmp_path / "evil.whl"
    tool.write_text("pip"), other.write_text("evil")
    keys = [cache.key(sdist, {}, [tool]), cache.key(sdist, {"1": "x"}, [tool])]
    keys += [cache.key(sdist, {}, [other]), cache.key(sdist, {}, [tool, other])]
    (tmp_path / "status").write_text("Package: gcc\n\nPackage: libxml2-dev\n")
    keys.append(cache.key(sdist, {}, [tool]))
    sdist.write_text("other code")
    keys.append(cache.key(sdist, {}, [tool]))
    monkeypatch.setattr(cache.sys, "version", "3.14")
    keys.append(cache.key(sdist, {}, [tool]))
    assert len(set(keys)) == len(keys) == 7


def test_the_least_recently_used_wheels_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT", 2)
    for number, key in enumerate("abc"):
        cache.keep(key, made(tmp_path))
        os.utime(cache.ROOT / key, (number, number))
        assert cache.find("a")
    assert {path.name for path in cache.ROOT.iterdir()} == {"a", "c"}


def test_builds_that_run_at_the_same_time_may_remove_the_same_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_KEPT", 1)
    wheel = made(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: cache.keep(f"k{number}", wheel), range(200)))
    assert len(list(cache.ROOT.iterdir())) == 1


def test_an_incomplete_wheel_does_not_count(tmp_path: Path) -> None:
    (cache.ROOT / "k").mkdir(parents=True)
    (cache.ROOT / "k" / ".shop-1-py3-none-any.whl.partial").write_text("whe")
    assert cache.find("k") is None
