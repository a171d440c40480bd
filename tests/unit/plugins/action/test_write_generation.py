"""The action plugin ``write_generation``: what it costs each host."""

import importlib

import jinja2
import pytest
from ansible_collections.flaskops.uwsgi.plugins.action import write_generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose

from tests.support.planning import artifact, settings


def test_what_is_forked_for_a_host_compiles_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    generation._environment.cache_clear()
    importlib.reload(write_generation)
    monkeypatch.setattr(jinja2.Environment, "compile", None)
    assert generation.files(settings(), artifact(), choose(settings(), {}))
