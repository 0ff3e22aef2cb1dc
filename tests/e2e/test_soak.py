"""A short soak: mixed load on real processes, of which nothing is lost and nothing is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.mixed_load import KINDS
from tests.support.processes import Processes

WITHIN_S = 240.0
"""Generous: it takes 15 s on an idle machine."""


@pytest.mark.timeout(300)
def test_a_short_soak_loses_nothing_and_leaves_nothing(processes: Processes, tmp_path: Path) -> None:
    """Every run ends once, no event is missing or comes twice, and all gauges are back at their base."""
    kept = tmp_path / "soak.json"
    command = [sys.executable, "-m", "bench.soak", "--quick", "--json", str(kept)]
    harness = processes.start("soak", command)
    status = harness.wait(WITHIN_S)
    result = json.loads(kept.read_text())
    assert (status, result["failures"]) == (0, [])
    tally = result["tally"]
    assert tally["runs"] == tally["ended_once"] > 0
    assert tally["visits"].keys() <= KINDS.keys()
    assert result["rows"][-1]["core"]["stored_runs"] > 0
