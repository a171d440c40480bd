"""The requests lost in a stop are read from the journal of the stopped instance, and reported."""

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.stopping import stop_all
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.toll import Toll, sentences

from tests.support.fake_host import FakeHost, write_generation

CUT = [
    "Gracefully killing worker 1 (pid: 7)...",
    "[uwsgi-stop] worker 1: 2 requests were cut 20 seconds after the stop began",
    "[uwsgi-stop] worker 2: 1 requests were cut 21 seconds after the stop began",
    "[uwsgi-stop] worker 3: 0 requests were cut 20 seconds after the stop began",
    "[uwsgi-stop] worker 4 was killed 23 seconds after the stop began",
    "the application says: [uwsgi-stop] worker 5 was killed 99 seconds after the stop began",
]


def test_a_swap_counts_what_it_cut(host: FakeHost) -> None:
    host.serve("g1")
    write_generation(host.layout, "g2")
    host.farewell[host.layout.service("g1")] = CUT
    swap = Swap(host.layout, "g2")
    swap.run()
    assert swap.toll == Toll(requests=3, workers=2, seconds=23)


def test_a_restart_counts_what_it_cut(host: FakeHost) -> None:
    host.serve("g1")
    host.farewell[host.layout.service("g1")] = CUT[:2]
    swap = Swap(host.layout, "g1", restart=True)
    swap.run()
    assert swap.toll == Toll(requests=2, seconds=20)


def test_a_stop_that_systemd_had_to_force_is_reported(host: FakeHost) -> None:
    host.serve("g1")
    host.timed_out.add(host.layout.service("g1"))
    assert stop_all(host.layout) == (True, Toll(workers=1))


def test_the_toll_of_an_earlier_stop_does_not_count(host: FakeHost) -> None:
    host.log[host.layout.service("g1")] = CUT
    host.serve("g1")
    write_generation(host.layout, "g2")
    swap = Swap(host.layout, "g2")
    swap.run()
    assert swap.toll == Toll()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, []),
        ({"requests": 0, "workers": 0, "seconds": 0}, []),
        (
            {"requests": 1, "workers": 0, "seconds": 20},
            [
                "1 request was cut 20 s after the stop began: set flask_uwsgi_stop_timeout above the longest request "
                "or stream"
            ],
        ),
        (
            {"requests": 0, "workers": 2, "seconds": 22},
            [
                "2 workers were killed 22 s after the stop began, without a request: look for threads or exit hooks of "
                "the application that do not end, or raise flask_uwsgi_stop_timeout"
            ],
        ),
    ],
)
def test_the_toll_is_reported_in_sentences(found: dict[str, int], said: list[str]) -> None:
    assert sentences(found) == said
    assert all("seconds" not in sentence for sentence in sentences(found))
