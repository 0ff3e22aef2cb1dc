"""An edge is restarted under streams: the benchmark of it runs, and nobody is left behind."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from bench import reconnects


@pytest.mark.timeout(240)
def test_all_clients_come_back_to_a_restarted_edge_and_questions_are_answered(tmp_path: Path) -> None:
    """Also when it was killed. How fast is the benchmark's matter: a busy machine may fail that alone."""
    for name in ("TERM", "KILL"):
        kept = tmp_path / f"{name}.json"
        reconnects.main(["--clients", "40", "--signal", name, "--json", str(kept)])
        result = json.loads(kept.read_text())
        assert result["signal"] == signal.Signals[f"SIG{name}"].name
        assert result["all_back_s"] is not None
        assert result["questions"] > 0
