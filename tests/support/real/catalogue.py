"""The applications, and the variables with which each is deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import ROOT
from tests.support.real import questions
from tests.support.real.visitor import Visitor

APPS = ROOT / "molecule" / "real" / "apps"

ISSO = """\
[general]
dbpath = /var/lib/isso/comments.db
host = http://localhost/
[moderation]
enabled = false
[guard]
enabled = false
[markup]
renderer = misaka
[admin]
enabled = true
password = of-the-admin
"""
RADICALE = """\
[auth]
type = htpasswd
htpasswd_filename = /var/lib/radicale/users
htpasswd_encryption = plain
[rights]
type = owner_only
[storage]
filesystem_folder = /var/lib/radicale/collections
"""
MOIN = """\
import os

import flask_theme
from moin.config import AclConfig, IndexStorageConfig
from moin.config.wikiconfig import Config as Shipped
from moin.storage import create_mapping

STATE = os.environ["STATE_DIRECTORY"]


class Config(Shipped):
    instance_dir = STATE
    data_dir = os.path.join(STATE, "data")
    index_storage = IndexStorageConfig(name="FileStorage", args=(os.path.join(STATE, "index"),), kwargs={})
    acl_functions = "Ann:superuser"
    uri = f"stores:fs:{data_dir}/%(backend)s/%(kind)s"
    acls = {
        name: AclConfig(before="", default="Known:read,write,create All:read", after="", hierarchic=False)
        for name in Shipped.acls
    }
    namespace_mapping, backend_mapping, acl_mapping = create_mapping(
        uri, Shipped.namespaces, dict.fromkeys(Shipped.backends, uri), acls
    )


make = flask_theme.ThemeManager.__init__


def make_with_themes(manager, *arguments, **more):
    make(manager, *arguments, **more)
    # By itself it reads them at the first request of a worker, and meanwhile shows a second thread only some.
    manager.refresh()


flask_theme.ThemeManager.__init__ = make_with_themes
MOINCFG = Config
SECRET_KEY = os.environ["SECRET_KEY"]
"""


@dataclass(frozen=True)
class Missing:
    """The message of a deploy in which a variable of the application is not set.

    Attributes:
        variable: the variable that is left out.
        says: a regular expression that its message, on one line, matches.
    """

    variable: str
    says: str


@dataclass(frozen=True)
class Application:
    """An application, how it is deployed, and how it is tested.

    Attributes:
        name: the application's name on the host.
        title: the title of its row in docs/REAL_APPS.md.
        port: the port on which it listens.
        ask: sends it the requests of its visitors.
        source: a package of the registry, or a folder of molecule/real/apps.
        variables: of flask_uwsgi, without their prefix.
        load: the path that clients request all the time during a deploy.
        missing: the messages of deploys in which a variable is missing.
        prepare: shell commands that an operator runs on the host first, as root.
        everyday: whether `make test` deploys it, too.
    """

    name: str
    title: str
    port: int
    ask: Callable[[Visitor], None]
    source: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    load: str = "/"
    missing: tuple[Missing, ...] = ()
    prepare: str = ""
    everyday: bool = False

    def settings(self, mode: str) -> dict[str, Any]:
        """Return every variable of the application in a mode."""
        source = str(APPS / self.source) if (APPS / self.source).is_dir() else self.source
        own = {"source": source, "port": self.port, "processes": 2, "mode": mode, "threads": 16, "canary_seconds": 1}
        chosen = own | dict(self.variables)
        return {f"flask_uwsgi_{name}": value for name, value in chosen.items()}


SECRET = {"secrets": {"SECRET_KEY": "only-for-the-tests-0123456789-0123456789-abcdef"}, "secrets_in_environment": True}

APPLICATIONS = (
    Application(
        "isso", "isso 0.14 (comments; Markdown by misaka)", 8051, questions.isso, "isso==0.14.0",
        {
            "module": "isso.run:application",
            "environment": {"ISSO_SETTINGS": "$FLASK_UWSGI_FILES/isso.cfg"},
            "files": {"isso.cfg": ISSO},
            "health_path": "/info",
            "unit_overrides": {"MemoryDenyWriteExecute": "no"},
        },
        load="/info",
        missing=(Missing("unit_overrides", "MemoryDenyWriteExecute"),),
    ),
    Application(
        "radicale", "Radicale 3.9 (calendars)", 8052, questions.radicale, "radicale==3.9.0",
        {
            "module": "radicale:application",
            "environment": {"RADICALE_CONFIG": "$FLASK_UWSGI_FILES/radicale.cfg"},
            "files": {"radicale.cfg": RADICALE},
            "health_path": "/.web/",
            "pre_activate": ["printf 'ann:of-ann\\nbob:of-bob\\n' >$STATE_DIRECTORY/users"],
        },
        load="/.web/",
    ),
    Application(
        "moin", "MoinMoin 2.0 beta (wiki)", 8053, questions.moin, "moin==2.0.0b5",
        SECRET | {
            "module": "moin.app:create_app()",
            "environment": {"MOINCFG": "$FLASK_UWSGI_FILES/wikiconfig.py"},
            "files": {"wikiconfig.py": MOIN},
            "health_path": "/+login",
            "pre_activate": [
                "test -d $STATE_DIRECTORY/index || { moin index-create && moin welcome && moin account-create"
                " --name Ann --email ann@example.org --password Keys-4-the-wiki; }",
            ],
        },
        load="/+login",
        missing=(Missing("environment", "No storage configuration specified"),),
    ),
    Application(
        "dashboard", "Dash 4.4", 8054, questions.dash, "dashboard",
        {"module": "app:app.server", "health_path": ""},
    ),
    Application(
        "diary", "Flask factory, instance folder, SQLite", 8055, questions.diary, "diary",
        SECRET | {
            "module": "diary:create_app()",
            "persistent": ["instance"],
            "health_path": "/hello",
            "pre_activate": ["test -s instance/diary.sqlite || flask --app diary init-db"],
        },
        missing=(Missing("persistent", "flask_uwsgi_persistent"),),
        everyday=True,
    ),
    Application(
        "members", "Flask-SQLAlchemy, Flask-Migrate, Flask-Login, PostgreSQL", 8056, questions.members, "members",
        SECRET | {
            "module": "members:create_app()",
            # PostgreSQL's role has the account's name, and connects over a socket without a password.
            "environment": {"DATABASE_URL": "postgresql+psycopg:///members?host=/var/run/postgresql"},
            "pre_activate": ["flask --app members db upgrade"],
        },
        missing=(
            Missing("environment", "DATABASE_URL.*flask_uwsgi_environment"),
            Missing("secrets", "SECRET_KEY.*flask_uwsgi_secrets"),
        ),
        prepare=(
            "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends postgresql >/dev/null && "
            "systemctl start postgresql && cd / && runuser -u postgres -- psql -qc 'CREATE ROLE members LOGIN' && "
            "runuser -u postgres -- createdb --owner members members"
        ),
    ),
    Application(
        "office", "Django 5.2, admin, collectstatic", 8057, questions.office, "office",
        {
            "module": "office.wsgi:application",
            "secrets": {**SECRET["secrets"], "DJANGO_SUPERUSER_PASSWORD": "of-the-admin"},  # type: ignore[dict-item]
            "secrets_in_environment": True,
            "environment": {"ALLOWED_HOSTS": "*"},
            "persistent": ["data"],
            "static": {"/static": "$STATE_DIRECTORY/static"},
            "pre_activate": [
                "python manage.py migrate --noinput -v 0",
                "python manage.py collectstatic --noinput -v 0",
                "test -e $STATE_DIRECTORY/admin || python manage.py createsuperuser --noinput --username admin"
                " --email admin@example.org",
                "touch $STATE_DIRECTORY/admin",
            ],
        },
        missing=(Missing("environment", "flask_uwsgi_health_host"), Missing("persistent", "flask_uwsgi_persistent")),
    ),
    Application(
        "mlflow", "mlflow 3.17 (tracking server)", 8058, questions.mlflow, "mlflow==3.17.2",
        {
            "module": "mlflow.server:app",
            "environment": {
                "_MLFLOW_SERVER_FILE_STORE": "sqlite:////var/lib/mlflow/mlflow.db",
                "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
                "_MLFLOW_SERVER_ARTIFACT_DESTINATION": "/var/lib/mlflow/artifacts",
                "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
                "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
            },
            "health_path": "/health",
            "start_timeout": 300,
            "health_timeout": 60,
        },
        load="/version",
    ),
    Application(
        "chat", "Flask-SocketIO", 8059, questions.chat, "chat",
        SECRET | {"module": "app:app", "health_path": "", "processes": 1},
    ),
    Application(
        "jobs", "Flask-APScheduler", 8060, questions.jobs, "jobs", {"module": "jobs:app"}, load="/healthz",
    ),
    Application(
        "press", "Poetry project, poetry.lock", 8061, questions.press, "poetry",
        {"module": "press:app", "health_path": "/"},
    ),
    Application(
        "harbour", "uv project, src layout, uv.lock", 8062, questions.harbour, "uv",
        {"module": 'harbour:create_app("north")', "health_path": "/"},
    ),
)  # fmt: skip
