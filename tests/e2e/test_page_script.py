"""The benchmark of the page's script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.page_script import SLOWER
from tests.support.processes import ROOT

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.xdist_group("page")]


def test_the_frames_of_an_answer_are_measured_at_each_speed(chromium: str, tmp_path: Path) -> None:
    """In a process of its own. Whether the answer is whole is asserted in there."""
    out = tmp_path / "rows.json"
    asked = ["--chars", "2000", "--rounds", "1", "--chromium", chromium, "--out", str(out)]
    subprocess.run([sys.executable, "-m", "bench.page_script", *asked], cwd=ROOT, check=True)
    rows = json.loads(out.read_text())["rows"]
    assert [row["slower"] for row in rows] == list(SLOWER)
    assert all(row["frames"] > 1 and row["p50_ms"] <= row["p99_ms"] <= row["max_ms"] for row in rows)
