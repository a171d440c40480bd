import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT
from tests.support.http2_target import NAME, Http2Server
from tests.support.load_target import Server

ROLE = ROOT / "roles" / "loadtest"
pytestmark = [
    pytest.mark.playbook,
    pytest.mark.skipif(shutil.which("ab") is None, reason="ab is not installed: apt install apache2-utils"),
]

SMALL = {
    "loadtest_data_file": str(ROOT / "app" / "data.txt"),
    "loadtest_check_service": False,
    "loadtest_article_requests": 60,
    "loadtest_article_concurrency": 20,
    "loadtest_article_requests_per_second_min": 1,
    "loadtest_crowd_requests": 80,
    "loadtest_crowd_concurrency": 40,
    "loadtest_crowd_requests_per_second_min": 1,
    "loadtest_http1_requests": 40,
    "loadtest_http1_concurrency": 10,
    "loadtest_http1_requests_per_second_min": 1,
    "loadtest_http2_requests": 30,
    "loadtest_http2_concurrency": 10,
    "loadtest_http2_requests_per_second_min": 1,
    "loadtest_warmup_requests": 5,
    "loadtest_keepalive_sequential": 20,
    "loadtest_keepalive_parallel": 5,
}


@dataclass
class Verified:
    returncode: int
    output: str
    reports: Path

    def report(self, host: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.reports / f"{host}.json").read_text(encoding="utf-8"))
        return data


Verify = Callable[..., Verified]
needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="h2load is not installed: apt install nghttp2-client"
)


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    def run(
        hosts: dict[str, dict[str, Any]],
        *options: str,
        balancers: dict[str, dict[str, Any]] | None = None,
        **variables: Any,
    ) -> Verified:
        inventory = tmp_path / "inventory.yml"
        here = {"ansible_connection": "local", "ansible_host": "127.0.0.1"}
        groups = {"flask": hosts} | ({"load_balancer": balancers} if balancers else {})
        inventory.write_text(
            yaml.safe_dump(
                {
                    group: {"hosts": {name: {**here, **own} for name, own in members.items()}}
                    for group, members in groups.items()
                }
            ),
            encoding="utf-8",
        )
        reports = tmp_path / "reports"
        extra = {**SMALL, "loadtest_report_dir": str(reports), **variables}
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                str(inventory),
                "playbooks/verify.yml",
                "-e",
                json.dumps(extra),
                *options,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, "ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_NOCOLOR": "1"},
            check=False,
        )
        return Verified(done.returncode, done.stdout + done.stderr, reports)

    return run


def test_a_good_host_passes_and_leaves_its_evidence(server: Server, verify: Verify) -> None:
    done = verify({"good": {"loadtest_port": server.port}})
    assert done.returncode == 0, done.output
    assert "1 of 1 host holds every threshold: PASS" in done.output
    report = done.report("good")
    assert report["verdict"] == "pass"
    assert (report["complete"], report["failed"], report["non_2xx"]) == (60, 0, 0)
    assert [run["complete"] for run in report["runs"]] == [60, 80]
    assert report["keepalive"]["errors"] == 0
    for name in ("article.txt", "article.csv", "crowd.txt", "crowd.csv"):
        assert (done.reports / "raw" / f"good-{name}").stat().st_size > 0
    page = (done.reports / "index.html").read_text(encoding="utf-8")
    assert "good" in page and "0123456789ab" in page
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", page)
    assert "{{" not in page and "{%" not in page


def test_a_missed_threshold_fails_and_is_named_for_that_host_alone(server: Server, verify: Verify) -> None:
    done = verify(
        {
            "good": {"loadtest_port": server.port},
            "slow": {"loadtest_port": server.port, "loadtest_article_requests_per_second_min": 10**8},
        },
        # An inventory variable must not be hidden by the extra variables of all tests.
        loadtest_article_requests_per_second_min="{{ 100000000 if inventory_hostname == 'slow' else 1 }}",
    )
    assert done.returncode == 2
    assert "1 of 2 hosts holds every threshold: FAIL" in done.output
    assert "< 100000000 (loadtest_article_requests_per_second_min)" in done.output
    assert done.report("good")["verdict"] == "pass"
    slow = done.report("slow")
    assert slow["verdict"] == "fail"
    assert len(slow["misses"]) == 1


def test_a_dead_host_and_an_unreachable_one_are_in_the_summary(server: Server, verify: Verify) -> None:
    done = verify(
        {
            "good": {"loadtest_port": server.port},
            "dead": {"loadtest_port": 1},
            "lost": {
                "ansible_connection": "ssh",
                "ansible_port": 1,
                "ansible_ssh_common_args": "-o ConnectTimeout=2",
            },
        },
        loadtest_check_service="{{ inventory_hostname == 'lost' }}",
    )
    assert done.returncode == 2
    assert "1 of 3 hosts holds every threshold: FAIL" in done.output
    assert done.report("good")["verdict"] == "pass"
    assert done.report("dead")["misses"][0].startswith("answer: no answer from http://127.0.0.1:1/")
    assert done.report("lost")["misses"][0].startswith("host: unreachable: ")
    assert {run["outcome"] for run in done.report("lost")["runs"]} == {"unsent"}


@pytest.mark.full
def test_wrong_answers_are_described(verify: Verify) -> None:
    with Server(health={"status": "ok", "mode": "threads"}) as other:
        done = verify(
            {"wrong": {"loadtest_port": other.port}},
            mode="gevent",
            loadtest_path="/500",
            loadtest_crowd=False,
        )
    assert done.returncode == 2
    said = done.report("wrong")["misses"]
    assert "answer status 500 != 200" in said
    assert "health mode threads != gevent" in said
    assert "article non_2xx 60 != 0" in said


@pytest.mark.full
def test_a_host_that_fails_before_it_is_measured_is_in_the_summary(server: Server, verify: Verify) -> None:
    done = verify(
        {"good": {"loadtest_port": server.port}, "odd": {"loadtest_port": server.port}},
        loadtest_article_concurrency="{{ 61 if inventory_hostname == 'odd' else 20 }}",
    )
    assert done.returncode == 2
    assert "loadtest_article_concurrency is 61 and loadtest_article_requests is" in done.output
    assert "MISSED odd: host: not measured" in done.output
    assert done.report("odd")["verdict"] == "fail"
    assert done.report("good")["verdict"] == "pass"


def test_the_servers_output_cannot_break_the_page(verify: Verify) -> None:
    evil = {"status": "ok", "mode": "<script>alert(1)</script>", "generation": '"><img src=x>'}
    with Server(health=dict(evil)) as other:
        done = verify({"evil": {"loadtest_port": other.port}}, loadtest_crowd=False)
    page = (done.reports / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;" in page


def test_check_mode_sends_nothing_and_writes_nothing(server: Server, verify: Verify) -> None:
    done = verify({"good": {"loadtest_port": server.port}}, "--check")
    assert done.returncode == 0, done.output
    assert "Check mode: no load was sent to 1 host" in done.output
    assert server.seen == 0
    assert not done.reports.exists()


def test_defaults_and_argument_specs_agree() -> None:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    assert set(defaults) == set(options)
    for name, option in options.items():
        assert option["description"], name
        if "default" in option:
            assert option["default"] == defaults[name], name


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt install wrk")
def test_wrk_is_judged_and_shown_like_ab(server: Server, verify: Verify) -> None:
    done = verify({"good": {"loadtest_port": server.port}}, loadtest_engine="wrk", loadtest_wrk_duration_s=1)
    assert done.returncode == 0, done.output
    report = done.report("good")
    assert report["engine"].startswith("wrk 4") and report["ab_version"] is None
    assert report["complete"] == report["requests"] > 0
    assert (done.reports / "raw" / "good-article.txt").stat().st_size > 0
    assert report["engine"] in (done.reports / "index.html").read_text(encoding="utf-8")


@needs_h2load
def test_balancers_are_measured_after_the_hosts_and_are_on_the_same_page(
    server: Server, verify: Verify, tmp_path: Path
) -> None:
    site = {"names": [NAME], "app": "flask", "tls": False}
    # The second balancer is the application host itself.
    done = verify(
        {"good": {"loadtest_port": server.port}},
        balancers={"lb1": {"load_balancer_http_port": server.port}, "good": {"load_balancer_http_port": server.port}},
        load_balancer_sites=[site],
        # For a second opinion on the hosts; it cannot connect to a balancer.
        loadtest_engine="ab",
    )
    assert done.returncode == 0, done.output
    assert "1 of 1 host holds every threshold: PASS" in done.output
    assert "2 of 2 hosts hold every threshold: PASS" in done.output
    assert [run["name"] for run in done.report("good")["runs"]] == ["article", "crowd"]
    for host in ("lb1", "good"):
        report = done.report(f"{host}-balancer")
        assert (report["host"], report["app"], report["mode"]) == (host, "flask", None)
        assert report["url"] == f"http://{NAME}:{server.port}/user_manage/user/login"
        assert [(run["name"], run["complete"]) for run in report["runs"]] == [("http1", 40)]
        assert report["engine"].startswith("h2load 1.")
        assert report["thresholds"]["loadtest_http1_p99_ms_max"] == 5000
        assert (done.reports / "raw" / f"{host}-balancer-http1.txt").stat().st_size > 0
    page = (done.reports / "index.html").read_text(encoding="utf-8")
    assert "3 of 3 hosts hold every threshold" in page
    for file in ("good.json", "lb1-balancer.json", "good-balancer.json"):
        assert f'href="{file}"' in page


@pytest.mark.full
@needs_h2load
def test_a_balancer_that_misses_a_threshold_fails_the_play(server: Server, verify: Verify, tmp_path: Path) -> None:
    plain = {"names": ["plain.example.org"], "app": "flask", "tls": "off"}
    # It speaks HTTP/2 only.
    with Http2Server(tmp_path) as balancer:
        done = verify(
            {"good": {"loadtest_port": server.port}, "load1": {}, "load2": {}},
            "--limit",
            "good,lb1",
            balancers={"lb1": {"load_balancer_https_port": balancer.port}},
            load_balancer_sites=[plain, {"names": [NAME], "app": "flask"}],
            loadtest_from=["load1", "load2"],
            loadtest_crowd=False,
        )
    assert done.returncode == 2
    report = done.report("lb1-balancer")
    http1, http2 = report["runs"]
    assert (http1["complete"], http1["failed"]) == (0, 40)
    assert (http2["complete"], http2["failed"]) == (30, 0)
    assert [sender["complete"] for sender in http2["senders"].values()] == [15, 15]
    assert {miss.split()[0] for miss in report["misses"]} == {"http1"}
    assert "MISSED lb1: http1 complete 0 != 40" in done.output
    assert balancer.names == {NAME}
    page = (done.reports / "index.html").read_text(encoding="utf-8")
    assert "1 of 2 hosts holds every threshold" in page


def test_load_hosts_share_a_run_and_their_raw_data_is_merged(server: Server, verify: Verify) -> None:
    done = verify(
        {"good": {"loadtest_port": server.port}, "load1": {}, "load2": {}},
        "--limit",
        "good",
        loadtest_from=["load1", "load2"],
    )
    assert done.returncode == 0, done.output
    report = done.report("good")
    article = report["runs"][0]
    assert (article["complete"], article["concurrency"]) == (60, 20)
    assert [sender["complete"] for sender in article["senders"].values()] == [30, 30]
    begins = [sender["began_s"] for sender in article["senders"].values()]
    # They start at the same time, as far as a busy machine permits.
    assert max(begins) - min(begins) < 5
    took: dict[str, int] = {}
    for name in ("load1", "load2"):
        raw = json.loads((done.reports / "raw" / f"good-article-{name}.json").read_text(encoding="utf-8"))
        assert raw["ab"]["raw"].startswith("$ ")
        for ms, count in raw["ab"]["histogram_ms"].items():
            took[ms] = took.get(ms, 0) + count
    assert sum(took.values()) == 60
    assert article["max_ms"] == max(map(float, took))
    page = (done.reports / "index.html").read_text(encoding="utf-8")
    assert "sent by load1, load2 together" in page and 'href="raw/good-article-load1.json"' in page


@pytest.mark.full
def test_a_load_host_that_cannot_send_fails_the_run_with_the_reason(server: Server, verify: Verify) -> None:
    lost = {"ansible_connection": "ssh", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    done = verify(
        {"good": {"loadtest_port": server.port}, "load1": {}, "load2": lost},
        "--limit",
        "good",
        loadtest_from=["load1", "load2"],
        loadtest_crowd=False,
    )
    assert done.returncode == 2
    misses = done.report("good")["misses"]
    assert len(misses) == 1 and misses[0].startswith("article: load2: "), misses
    assert done.report("good")["runs"][0]["p99_ms"] is not None


def test_a_missing_load_host_and_an_unknown_engine_are_refused(server: Server, verify: Verify) -> None:
    good = {"good": {"loadtest_port": server.port}}
    done = verify(good, loadtest_from=["load9"])
    assert done.returncode == 2
    assert "loadtest_from names load9, which is not in the inventory" in " ".join(done.output.split())
    done = verify(good, loadtest_engine="jmeter")
    assert done.returncode == 2
    assert "value of loadtest_engine must be one of: ab, wrk, h2load, got: jmeter" in done.output
    assert server.seen == 0
