"""What has been streamed does not stay in memory, whatever stays of the run's log."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, clean_environment

SHARE = 1 / 8
"""Of what has passed, the most that may stay: nothing does, but an allocator takes whole pages. While one
message served all deltas, half of what was streamed stayed, and all of the deltas before a pause."""


@pytest.mark.parametrize("passing", ["streams", "pauses"])
def test_what_has_passed_does_not_stay(passing: str) -> None:
    """Events of every kind on their way from the agent to the browser, and long deltas before a pause."""
    measured = subprocess.run(
        [sys.executable, "-m", "tests.support.growth", passing],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert measured.returncode == 0, measured.stderr
    growth = json.loads(measured.stdout)
    assert growth["passed_bytes"] > 30_000_000
    assert growth["grown_bytes"] < SHARE * growth["passed_bytes"]
