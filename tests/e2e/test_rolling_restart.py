"""Two edges and two cores are restarted, one by one, under live streams: no reader loses anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rolling_restart import STOPPED, Plan, Report, run
from tests.support import nginx

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]

STREAMS = 20


def assert_whole(report: Report, *restarted: str) -> None:
    """Nothing lost, nothing doubled, every run ended once, as its state says too; all were restarted."""
    assert report.wrong == []
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.ended_once == report.runs == sum(report.ends.values())
    assert report.runs >= report.streams
    assert [(each["process"], each["exit_status"]) for each in report.restarts] == [
        (name, 0) for name in restarted
    ]
    assert all(each["live_streams"] for each in report.restarts)
    # Each edge that went down has sent its streams away: without them, nothing was tried.
    assert report.interruptions["the stream ended early"] >= report.streams / 2
    assert report.ok


def test_with_time_to_drain_every_run_comes_to_its_own_end(tmp_path: Path) -> None:
    """A core that goes down lets its runs finish; an edge sends its streams to the other one."""
    report = run(Plan(STREAMS, rate=10, tokens=60, pause_s=1), tmp_path)
    assert_whole(report, *Plan.restarts)
    assert set(report.ends) == {"done"}


def test_without_time_runs_end_in_the_cores_own_error(tmp_path: Path) -> None:
    """Those that a core has to stop: once, and nothing of what they said before is lost."""
    restarts = ("edge 1", "core 1")
    report = run(Plan(STREAMS, rate=10, tokens=60, drain_s=0.2, pause_s=1, restarts=restarts), tmp_path)
    assert_whole(report, *restarts)
    assert report.ends[STOPPED] > 0
    assert set(report.ends) <= {"done", STOPPED}


@pytest.mark.needs("nginx")
def test_behind_nginx_a_restarted_edge_is_never_a_bad_gateway(tmp_path: Path) -> None:
    """With the shipped configuration each stream finds the edge that is there: a 502 ends an EventSource."""
    edges = ("edge 1", "edge 2")
    plan = Plan(12, rate=10, tokens=40, pause_s=1, down_s=1, restarts=edges, nginx=True, cores=1)
    report = run(plan, tmp_path)
    assert_whole(report, *edges)
    assert set(report.ends) == {"done"}
    answers = nginx.answers(tmp_path / "nginx")
    assert answers["200 GET"] >= report.streams
    assert not [answer for answer in answers if answer.startswith(("500", "502", "504"))]
    # A new question that meets an edge in its last moment is told when to ask again.
    assert set(report.interruptions) <= {"the stream ended early", "HTTP 503"}
