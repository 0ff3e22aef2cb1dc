"""The benchmark of the wire core runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.wire_core import BASELINE, CONTESTANTS, main


def test_every_contestant_is_measured_in_every_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and one row of times each, and a ratio to the baseline."""
    out = tmp_path / "rows.json"
    main(["--rounds", "2", "--tokens", "200", "--out", str(out)])
    rows = json.loads(out.read_text())["microseconds_per_token"]
    assert {name: len(times) for name, times in rows.items()} == dict.fromkeys(CONTESTANTS, 2)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith(f"ratio to {BASELINE} (median of pairs)")
    assert len(lines) == len(CONTESTANTS)
