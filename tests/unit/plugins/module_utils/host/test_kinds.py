"""The kinds of units, compared with their unit files."""

import re
from functools import cache

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import kinds
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose

from tests.support.planning import artifact, settings

KINDS = {
    # The unit of generation g, its runtime directory (of an instance), its file in a generation, the signal.
    "service": ("shop@g.service", "shop/%i", "app@.service", "SIGTERM"),
    "relief": ("shop-relief@g.service", "shop-relief", "app-relief@.service", "SIGTERM"),
    "canary": ("shop-canary@g.service", "shop-canary", "app-canary@.service", "SIGKILL"),
    "check": ("shop-check@g.service", "shop-check", "app-check@.service", "SIGKILL"),
    "pre": ("shop-pre@g.service", "shop-%j", "app-task@.service", "SIGTERM"),
    "post": ("shop-post@g.service", "shop-%j", "app-task@.service", "SIGTERM"),
    "validate": ("shop-validate@g.service", "shop-validate", "app-validate@.service", "SIGTERM"),
}


@cache
def rendered() -> dict[str, str]:
    own = settings(canary_seconds="2.5", stop_timeout=30)
    return generation.rendered(own, artifact(), choose(own, {}))


def unit_text(name: str) -> str:
    """Return the unit file of a kind as it is written."""
    return rendered()[f"units/{KINDS[name][2]}"]


def said(name: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit_text(name), re.M)


each = pytest.mark.parametrize("name", KINDS)


def test_these_are_all_kinds() -> None:
    assert [kind.name for kind in kinds.KINDS] == list(KINDS)
    assert [kind.name for kind in kinds.LASTING] == ["service", "relief", "canary"]
    assert [kind.name for kind in kinds.TASKS] == ["pre", "post"]
    assert [kind.name for kind in kinds.TEMPORARY] == ["canary", "check", "pre", "post", "validate"]


@each
def test_each_has_its_unit_its_runtime_directory_its_file_and_its_signal(name: str) -> None:
    kind, layout = kinds.BY_NAME[name], Layout("shop")
    unit, runtime, template, signal = KINDS[name]
    assert (layout.unit(kind, "g"), kind.template, kind.stop_signal) == (unit, template, signal)
    assert str(layout.runtime_of(kind)) == "/run/" + runtime.replace("%j", name).removesuffix("/%i")
    assert said(name, "RuntimeDirectory") == [runtime]
    assert said(name, "KillSignal") == ([signal] if signal != "SIGTERM" else [])


@pytest.mark.parametrize(
    ("name", "description", "role"),
    [
        ("service", "shop: generation %i", "service"),
        ("relief", "shop: relief of generation %i", "service"),
        ("canary", "shop: canary of generation %i", "canary"),
        ("check", "shop: gevent check of generation %i", "check"),
        ("post", "shop: %j commands of generation %i", "task"),
        ("validate", "shop: check of the configuration of generation %i", "validate"),
    ],
)
def test_the_description_names_the_kind_for_people_and_the_application(name: str, description: str, role: str) -> None:
    assert said(name, "Description") == [description]
    assert f"FLASK_UWSGI_GENERATION=%i FLASK_UWSGI_ROLE={role}" in said(name, "Environment")


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        # The watch time, two health checks, and some reserve.
        ("canary", "\nRuntimeMaxSec=82\n"),
        # A oneshot is starting all the time.
        ("pre", "\nTimeoutStartSec=300\n"),
    ],
)
def test_a_temporary_unit_ends_by_itself(name: str, bound: str) -> None:
    assert bound in unit_text(name)


@pytest.mark.parametrize("name", ["service", "relief"])
def test_a_serving_unit_never_ends_by_itself(name: str) -> None:
    assert "RuntimeMaxSec" not in unit_text(name)
