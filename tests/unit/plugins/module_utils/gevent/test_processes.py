"""Where an application uses parts of multiprocessing that do not yield under gevent."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.processes import Use, uses, watched


def found(folder: Path, code: str, **files: str) -> list[tuple[str, str, int]]:
    """Return what is found in ``run.py`` and its imports."""
    (folder / "run.py").write_text(code)
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return [(use.what, str(Path(use.file).relative_to(folder)), use.line) for use in uses(["run", "os"], [folder])]


@pytest.mark.parametrize(
    ("code", "what", "line"),
    [
        ("import multiprocessing\nmultiprocessing.Pool(2)", "Pool", 2),
        ("import multiprocessing as mp\ndef f():\n    return mp.Pool(2)", "Pool", 3),
        ("import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool: pass", "Pool", 2),
        ("import multiprocessing\nctx = multiprocessing.get_context()\nctx.Manager()", "Manager", 3),
        ("from multiprocessing import get_context as g\nx = g('spawn')\nx.Pipe()", "Pipe", 3),
        ("from multiprocessing import Pool as P\n\nP()", "Pool", 3),
        ("from multiprocessing.pool import Pool\n\nPool()", "Pool", 3),
        ("import multiprocessing.pool\nmultiprocessing.pool.Pool()", "Pool", 2),
        ("from multiprocessing import Pool\nmake = Pool", "Pool", 1),
        ("import multiprocessing as m\nlock = m.Lock()", "Lock", 2),
        ("from multiprocessing import Queue, Process\nq = Queue()", "Queue", 2),
    ],
)
def test_calls_that_do_not_yield_are_found(tmp_path: Path, code: str, what: str, line: int) -> None:
    assert found(tmp_path, code) == [(what, "run.py", line)]


@pytest.mark.parametrize(
    "code",
    [
        "from multiprocessing import Process\nProcess(target=int).start()",
        "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor()",
        "from multiprocessing.pool import ThreadPool\nThreadPool()",
        "from multiprocessing.dummy import Pool\nPool()",
        "import multiprocessing.dummy as multiprocessing\nmultiprocessing.Pool()",
        "from threading import Lock, Event\nLock(), Event()",
        "from gevent.pool import Pool\nPool()",
        "import multiprocessing\nmultiprocessing.cpu_count()",
        "class multiprocessing: Pool = int\nmultiprocessing.Pool()",
        "this is no Python",
        "'multiprocessing.Pool()'",
    ],
)
def test_calls_that_yield_are_not(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, code) == []


def test_modules_imported_later_are_searched_and_others_are_not(tmp_path: Path) -> None:
    pool = "import multiprocessing\nmultiprocessing.Pool()\n"
    code = "def view():\n    from jobs import heavy\n    import jobs.light\n"
    files = {
        "jobs__heavy": "from . import near\nfrom .deeper import x\n",
        "jobs__near": pool,
        "jobs__deeper": "\n" + pool,
        "jobs__light": "",
        "tests__test_pool": pool,
        "script": pool,
    }
    assert found(tmp_path, code, **files) == [("Pool", "jobs/deeper.py", 3), ("Pool", "jobs/near.py", 2)]


def test_names_do_not_lead_out_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("import multiprocessing\nmultiprocessing.Pool()\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run.py").write_text("from .. import outside\nfrom ..outside import x\n")
    assert uses(["run", "../outside", "..outside", "", "a/b"], [tmp_path / "app"]) == []


def test_an_observation_counts_if_it_is_in_the_application(tmp_path: Path) -> None:
    rows = [
        {"kind": "Pool", "where": f"{tmp_path}/run.py:7 work", "count": 3},
        {"kind": "RLock", "where": "/opt/shop/venvs/v/lib/python3.11/site-packages/tqdm/std.py:90 <module>"},
        {"kind": "Pool", "where": ""},
        {"kind": 7, "where": f"{tmp_path}/run.py:7 work"},
    ]
    assert watched(rows, [tmp_path]) == [Use("Pool", f"{tmp_path}/run.py", 7)]
