"""docs/telemetry.md names every metric."""

from __future__ import annotations

import pytest

from tests.support.processes import ROOT
from tokenwire.telemetry.metrics import home, instruments  # noqa: F401 # declares them
from tokenwire.telemetry.metrics.exposition import prometheus_name
from tokenwire.telemetry.metrics.home import AnyInstrument


@pytest.mark.parametrize("instrument", [pytest.param(each, id=each.declaration.name) for each in home()])
def test_each_metric_is_documented(instrument: AnyInstrument) -> None:
    """Under both of its names, with its labels."""
    declaration = instrument.declaration
    suffix = "_total" if declaration.kind == "counter" else ""
    names = (declaration.name, f"{prometheus_name(declaration)}{suffix}", *declaration.labels)
    rows = [line for line in (ROOT / "docs/telemetry.md").read_text().splitlines() if line.startswith("|")]
    assert any(all(f"`{name}`" in row for name in names) for row in rows)
