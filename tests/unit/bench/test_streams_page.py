"""The page and the plots of the streams' benchmark are what the kept results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.streams import page
from bench.streams.bridges import BRIDGES, NAIVE, PRODUCT
from bench.streams.budgets import MIDDLE
from bench.streams.cases import IDLE, OPENED_AND_LEFT
from bench.streams.figures import Figures
from bench.streams.page import begin, images, plots, sections, write_page
from bench.streams.plots import PLOTS
from bench.streams.sizing import UnitCosts, processes, sizes_table, unit_costs
from bench.streams.svg import LABEL_HEIGHT, Text, apart, bars, decades, lines, steps
from tests.support.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"
SVG = "{http://www.w3.org/2000/svg}"


def result() -> dict[str, Any]:
    """Return a result that has something for every plot and all unit costs."""
    rows: list[dict[str, Any]] = []
    for bridge in (PRODUCT, NAIVE):
        for load in ("100 x 50/s", "500 x 10/s", MIDDLE, "500 x 50/s"):
            latency = {"p50": 1.0, "p99": 2.0}
            costs = {"edge_us_per_token": 40.0, "core_us_per_token": 50.0, "tokens_per_s": 10_000.0}
            rows.append({"case": "steady", "load": load, "bridge": bridge, "latency_ms": latency, **costs})
        opened = {"edge_us_per_stream": 1000.0, "core_us_per_stream": 2000.0}
        rows.append({"case": "visits", "load": OPENED_AND_LEFT.name, "bridge": bridge, **opened})
        for load in ("1,000 idle", IDLE.name):
            memory = {"edge_kib_per_stream": 32.0, "core_kib_per_stream": 16.0}
            rows.append({"case": "idle", "load": load, "bridge": bridge, **memory})
    names = {bridge.name: {} for bridge in BRIDGES if bridge.name in {PRODUCT, NAIVE}}
    return {"rows": [{"round": 1, **row} for row in rows], "bridges": names}


def stores() -> dict[str, Any]:
    """Return a result of the stores: with Redis the core takes 5 µs more than with memory."""
    redis = {"store": "redis", "cpu_us_per_token": 65.0, "redis_cpu_us_per_token": 25.0}
    memory = {"store": "memory", "cpu_us_per_token": 60.0, "redis_cpu_us_per_token": 0.0}
    return {"rows": [{"load": "1000 x 5/s", **row} for row in (redis, memory)]}


def test_the_page_shows_the_results_that_are_kept() -> None:
    """No number of docs/performance.md was copied by hand, and no plot is older than its rows."""
    text = PAGE.read_text(encoding="utf-8")
    for section, shown in sections().items():
        assert f"{begin(section)}\n\n{shown}\n" in text
    for name, svg in plots().items():
        assert (PAGE.parent / page.IMAGES / page.file_of(name)).read_text(encoding="utf-8") == svg


def test_a_page_is_written_from_nothing_but_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its sections, and its plots beside it; the rest of it stays."""
    kept = tmp_path / "streams.json"
    monkeypatch.setattr(page, "KEPT", kept)
    monkeypatch.setattr(page, "KEPT_FULL", tmp_path / "missing.json")
    copy = tmp_path / "performance.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / page.IMAGES).mkdir()
    write_page(copy)
    assert copy.read_text(encoding="utf-8").count(page.NOT_YET) == 3
    monkeypatch.setattr(page, "report", lambda _: "the tables")
    kept.write_text(json.dumps(result()))
    write_page(copy)
    text = copy.read_text(encoding="utf-8")
    assert "the tables" in text
    assert images(["edge-cpu"])[0] in text
    assert text.endswith(PAGE.read_text(encoding="utf-8")[-500:])
    assert {path.name for path in (tmp_path / page.IMAGES).iterdir()} == {
        page.file_of(name) for name in PLOTS
    }


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_xml_and_names_each_bridge(name: str) -> None:
    """And nothing of it lies outside the picture."""
    svg = PLOTS[name](Figures(result()))
    assert svg is not None
    root = ET.fromstring(svg)  # noqa: S314 # our own
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {PRODUCT, NAIVE} <= set(words)
    assert all(0 <= float(element.get("y", 0)) <= float(root.get("height", 0)) for element in root.iter())


def test_plots_without_rows_are_not_drawn() -> None:
    """The page then has none."""
    assert [make(Figures({"rows": [], "bridges": {}})) for make in PLOTS.values()] == [None] * len(PLOTS)


def test_scales_are_round_and_hold_all_values() -> None:
    """Linear ones begin at 0."""
    assert steps(23) == [0, 5, 10, 15, 20, 25]
    assert steps(25_000) == [0, 5_000, 10_000, 15_000, 20_000, 25_000]
    assert decades(0.7, 134) == [0.1, 1, 10, 100, 1000]
    assert decades(1, 1) == [1, 10]


def test_names_of_lines_never_cover_each_other() -> None:
    """They keep their order."""
    places = list(apart({"a": 10.0, "b": 11.0, "c": 12.0}).values())
    assert places == [10.0, 10.0 + LABEL_HEIGHT, 10.0 + 2 * LABEL_HEIGHT]


def test_words_of_a_plot_may_have_any_characters() -> None:
    """They are escaped."""
    about = Text("a < b & 'c'", "")
    ET.fromstring(bars(about, {"<x>": [1.0, None]}, ["a&b", "c"]))  # noqa: S314 # our own
    ET.fromstring(lines(about, {"<x>": [(1.0, 2.0)]}))  # noqa: S314 # our own


def test_sizes_are_the_arithmetic_that_the_page_tells() -> None:
    """10,000 streams: 20,000 tokens and 50 openings a second."""
    costs = unit_costs(Figures(result()), stores())
    assert costs == UnitCosts(40, 50, 1, 2, 32, 16, store_token_us=5, redis_token_us=25)
    line = sizes_table(costs).splitlines()[3]
    edge, core, redis = 20_000 * 40e-6 + 50 * 1e-3, 20_000 * 55e-6 + 50 * 2e-3, 20_000 * 25e-6
    assert line.split(" | ")[:2] == ["| 10,000", "20,000"]
    assert [cell.split(" → ")[0] for cell in line.split(" | ")[3:6]] == [
        f"{cpus:.2f}" for cpus in (edge, core, redis)
    ]
    assert (processes(0.1), processes(0.6), processes(0.61)) == (1, 1, 2)


def test_without_all_unit_costs_no_size_is_told() -> None:
    """A size from a guess would look like a measured one."""
    assert unit_costs(Figures({"rows": [], "bridges": {}}), stores()) is None
    assert unit_costs(Figures(result()), {"rows": []}) is None
