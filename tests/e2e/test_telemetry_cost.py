"""The benchmark of what telemetry costs core and edge runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import telemetry_cost


def test_every_contestant_serves_the_same_streams_in_every_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with a row of its own; the ratio of the first to itself is 1."""
    out = tmp_path / "rows.json"
    arguments = ["--rounds", "1", "--streams", "4", "--rate", "50", "--seconds", "1", "--out", str(out)]
    telemetry_cost.main(arguments)
    result = json.loads(out.read_text())
    assert [row["contestant"] for row in result["rows"]] == list(telemetry_cost.contestants(""))
    assert all(row["core_us"] > 0 and row["edge_us"] > 0 for row in result["rows"])
    assert capsys.readouterr().out.count("1.000 (1.000 to 1.000)") >= 3
