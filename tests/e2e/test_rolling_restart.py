"""Two edges and two cores are restarted, one by one, under live streams: no reader loses anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rolling_restart import STOPPED, Plan, Report, run

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]

STREAMS = 20


def assert_whole(report: Report) -> None:
    """Nothing lost, nothing doubled, every run ended once, as its state says too; all four were restarted."""
    assert report.wrong == []
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.ended_once == report.runs == sum(report.ends.values())
    assert report.runs >= STREAMS
    assert [(each["process"], each["exit_status"]) for each in report.restarts] == [
        ("edge 1", 0),
        ("core 1", 0),
        ("edge 2", 0),
        ("core 2", 0),
    ]
    assert all(each["live_streams"] for each in report.restarts)
    # Each edge that went down has sent its streams away: without them, nothing was tried.
    assert report.interruptions["the stream ended early"] >= STREAMS / 2
    assert report.ok


def test_with_time_to_drain_every_run_comes_to_its_own_end(tmp_path: Path) -> None:
    """A core that goes down lets its runs finish; an edge sends its streams to the other one."""
    report = run(Plan(STREAMS, rate=10, tokens=60, pause_s=1), tmp_path)
    assert_whole(report)
    assert set(report.ends) == {"done"}


def test_without_time_runs_end_in_the_cores_own_error(tmp_path: Path) -> None:
    """Those that a core has to stop: once, and nothing of what they said before is lost."""
    report = run(Plan(STREAMS, rate=10, tokens=60, drain_s=0.2, pause_s=1), tmp_path)
    assert_whole(report)
    assert report.ends[STOPPED] > 0
    assert set(report.ends) <= {"done", STOPPED}
