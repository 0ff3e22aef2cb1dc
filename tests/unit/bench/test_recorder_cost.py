"""The benchmark of a stream's recorder runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.recorder_cost import ALWAYS_ON, COMPACT, NOTHING
from tests.support.processes import ROOT


def test_every_contestant_is_measured_in_every_round(tmp_path: Path) -> None:
    """In a process of its own: it installs a tracer. A line for each, and what it adds to the first."""
    out = tmp_path / "rows.json"
    command = [sys.executable, "-m", "bench.recorder_cost", "--rounds", "2", "--tokens", "300", "--out", out]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rows = json.loads(out.read_text())["rows"]
    contestants = [NOTHING, ALWAYS_ON, COMPACT]
    assert [row["contestant"] for row in rows] == contestants * 2
    assert all(
        line.startswith(name) for name, line in zip(contestants, printed.splitlines()[1:], strict=True)
    )
