"""The benchmark of what a token costs in each dialect runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import dialect_cost


def test_every_dialect_is_measured_in_every_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole streams, a row for each, and the ratio of the first to itself is 1."""
    out = tmp_path / "rows.json"
    words = ["--rounds", "1", "--streams", "20", "--rate", "100", "--seconds", "2", "--out", str(out)]
    dialect_cost.main(words)
    rows = json.loads(out.read_text())["rows"]
    assert [row["dialect"] for row in rows] == [*dialect_cost.ROUTES]
    assert "native          " in capsys.readouterr().out
    assert all(row["edge_us"] > 0 for row in rows)
