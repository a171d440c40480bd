from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.retention import prune

from tests.support.fake_host import TemporaryLayout, write_generation


def served(layout: TemporaryLayout, *names: str) -> None:
    """Write generations with a release and an environment each, which served in this order."""
    for name in names:
        write_generation(layout, name, release=f"r-{name}", venv=f"v-{name}")
        gen.mark_served(layout, name)


def there(layout: TemporaryLayout) -> set[str]:
    return {path.name for folder in (layout.releases, layout.venvs) for path in folder.iterdir()}


def test_prune_keeps_the_requested_number_the_last_served_first(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c", "d", "e")
    assert prune(layout, "e", "d", keep=3) is True
    assert gen.kept(layout) == ["e", "d", "c"]
    assert there(layout) == {"r-e", "r-d", "r-c", "v-e", "v-d", "v-c"}


def test_prune_always_keeps_the_previous_generation(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c")
    prune(layout, "c", "b", keep=1)
    assert gen.kept(layout) == ["c", "b"]


def test_prune_after_a_rollback_keeps_new_and_old_although_others_served_later(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c", "d")
    gen.mark_served(layout, "a")
    prune(layout, "a", "d", keep=2)
    assert gen.kept(layout) == ["a", "d"]


def test_prune_removes_the_unit_settings_of_removed_generations(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c")
    for name in ("a", "c"):
        for unit in (layout.service(name), layout.canary(name), layout.relief(name)):
            layout.dropin(unit).parent.mkdir()
            layout.dropin(unit).write_text("[Service]\n")
    prune(layout, "c", "b", keep=2)
    for unit in (layout.service, layout.canary, layout.relief):
        assert not layout.dropin(unit("a")).parent.exists()
        assert layout.dropin(unit("c")).is_file()


def test_prune_removes_releases_and_environments_that_no_generation_names(layout: TemporaryLayout) -> None:
    served(layout, "a")
    killed = (trees.trash(folder / "x") for folder in (layout.generations, layout.releases, layout.venvs))
    for orphan in (layout.releases / "r-orphan", layout.releases / ".r.partial", layout.venvs / "v-orphan", *killed):
        (orphan / "inside").mkdir(parents=True)
    assert prune(layout, "a", None, keep=3) is True
    assert there(layout) == {"r-a", "v-a"}
    assert [path.name for path in layout.generations.iterdir()] == ["a"]


def test_prune_keeps_what_generations_share(layout: TemporaryLayout) -> None:
    for name in ("a", "b", "c"):
        write_generation(layout, name, release="shared", venv="shared")
        gen.mark_served(layout, name)
    prune(layout, "c", "b", keep=2)
    assert there(layout) == {"shared"}


def test_prune_with_nothing_to_do_says_so(layout: TemporaryLayout) -> None:
    served(layout, "a", "b")
    assert prune(layout, "b", "a", keep=3) is False
