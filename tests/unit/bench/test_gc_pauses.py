"""The benchmark of the garbage collector's pauses runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.gc_pauses import WAYS
from tests.support.processes import ROOT


def test_every_way_is_measured(tmp_path: Path) -> None:
    """Each in a process of its own, with tokens on their way meanwhile; a line for each."""
    out = tmp_path / "rows.json"
    few = ["--seconds=0.5", "--warm=1", "--streams=3", "--rate=20", "--events=5000", "--rounds=1"]
    command = [sys.executable, "-m", "bench.gc_pauses", *few, f"--out={out}"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rows = json.loads(out.read_text())["rows"]
    assert [row["way"] for row in rows] == list(WAYS)
    assert all(row["tokens_per_s"] > 0 for row in rows)
    assert all(line.startswith(f"| {way} ") for way, line in zip(WAYS, printed.splitlines()[2:], strict=True))
