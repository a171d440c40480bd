import re
from typing import Any

import pytest
import yaml
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.judge import numbers

from tests.support import ROOT

CATALOGUE = yaml.safe_load((ROOT / "roles/flask_uwsgi/files/gevent_libraries.yml").read_text(encoding="utf-8"))
LIBRARIES = CATALOGUE["libraries"]
KEYS = {"name", "verdict", "symptom", "remedy", "reference"}
MORE = {"distributions", "modules", "since", "until", "remedied_by"}

every_library = pytest.mark.parametrize("entry", LIBRARIES, ids=lambda entry: entry["name"])


def test_the_catalogue_has_a_version() -> None:
    assert re.fullmatch(r"\d{4}\.\d{1,2}\.\d+", CATALOGUE["version"])


@every_library
def test_every_entry_has_a_symptom_a_remedy_and_a_source(entry: dict[str, Any]) -> None:
    assert entry.keys() >= KEYS and entry.keys() <= KEYS | MORE
    assert entry["verdict"] in ("blocks", "warning", "ok")
    assert len(entry["symptom"]) > 10 and len(entry["remedy"]) > 5
    assert not entry["symptom"].endswith(".") and not entry["remedy"].endswith(".")
    assert re.fullmatch(r"https://[\w.-]+/\S+", entry["reference"])


@every_library
def test_versions_are_texts_that_can_be_compared(entry: dict[str, Any]) -> None:
    for key in entry.keys() & {"since", "until"}:
        assert isinstance(entry[key], str) and numbers(entry[key]), key


def test_entries_of_one_library_do_not_overlap() -> None:
    for entry in LIBRARIES:
        same = [other for other in LIBRARIES if other["name"] == entry["name"] and other is not entry]
        assert all(
            other.get("since") == entry.get("until") or other.get("until") == entry.get("since") for other in same
        )


def test_common_libraries_are_included() -> None:
    assert {entry["name"] for entry in LIBRARIES} >= {
        "psycopg2", "psycopg", "mysqlclient", "PyMySQL", "mysql-connector-python", "cx_Oracle", "oracledb", "pymongo",
        "grpcio", "pycurl", "confluent-kafka", "uvloop", "aiohttp", "httpx", "asyncpg", "motor", "celery", "pyzmq",
        "ddtrace", "newrelic", "eventlet", "tornado", "trio", "numpy", "pysqlite3", "pylibmc", "ibm_db", "pyodbc",
        "python-ldap", "gssapi", "kerberos", "boto3", "redis", "requests",
    }  # fmt: skip
