"""The settings and their types agree with the role's argument specs."""

from dataclasses import fields
from typing import get_type_hints

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.preflight import RANGES
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.settings import Settings
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.specs import OPTIONS, of_type

from tests.support.planning import settings

TYPES = {"str": str, "path": str, "int": int, "float": float, "bool": bool}


def test_every_option_is_a_setting_of_its_type() -> None:
    hints = get_type_hints(Settings)
    assert {field.name for field in fields(Settings)} == OPTIONS.keys()
    for option in OPTIONS.values():
        origin = getattr(hints[option.name], "__origin__", hints[option.name])
        assert origin is {**TYPES, "list": list, "dict": dict}[option.type], option


def test_every_number_has_a_range() -> None:
    assert RANGES.keys() == set(of_type("int", "float"))


def test_values_of_the_command_line_are_strings() -> None:
    found = settings(port="80", canary_seconds="1.5", preload="yes", log_requests="0", gevent_check=False)
    assert (found.port, found.canary_seconds, found.preload, found.log_requests) == (80, 1.5, True, False)
    # YAML reads a bare off as false.
    assert found.gevent_check == "off"


def test_values_derived_from_settings() -> None:
    found = settings(base_dir="/srv", bind="127.0.0.1", port=81, mount="/shop", health_path="")
    assert (found.root, found.listen, found.entry) == ("/srv/shop", "127.0.0.1:81", "run.py:app")
    assert (found.health, found.accepted, found.probe, found.probe_accepted) == ("/shop/", 0, "/shop/", 0)
    found = settings(module="shop:app", health_path="/up", health_status=204, gevent_check_path="/slow")
    assert (found.entry, found.health, found.accepted, found.probe) == ("shop:app", "/up", 204, "/slow")
