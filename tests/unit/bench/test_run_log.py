"""The benchmark of the stores runs, counts every token, and its page is what its rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import run_log, run_log_tables
from bench.contestants import BASELINE
from bench.run_log_tables import BEGIN, END, tables, write_into_page
from tests.support import system


@pytest.mark.needs("redis")
def test_every_store_is_measured_under_every_load(tmp_path: Path) -> None:
    """Each token of each run is received once, or the benchmark itself raises."""
    out = tmp_path / "rows.json"
    run_log.main(["--quick", "--out", str(out), "--folder", str(tmp_path)])
    result = json.loads(out.read_text())
    assert result["left_out"] == []
    measured = {(row["load"], row["store"]): row["tokens"] for row in result["rows"]}
    expected = {
        (load.name, store): load.runs * load.tokens
        for load in run_log.loads(1, quick=True)
        for store in ("no log", "memory", "sqlite", "redis")
    }
    assert measured == expected
    assert list(tmp_path.iterdir()) == [out]


def test_a_missing_redis_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are measured all the same."""
    monkeypatch.setattr(system, "find", lambda _: None)
    monkeypatch.setattr(run_log, "loads", lambda *_, **__: [run_log.Load(1, 0, 10)])
    run_log.main(["--quick", "--folder", str(tmp_path)])
    said = capsys.readouterr()
    assert "LEFT OUT: redis" in said.err
    assert "**Left out: redis.**" in said.out


def rows(store: str, p50_us: tuple[float, ...], tokens: int = 1_000) -> list[dict[str, Any]]:
    load = {"load": "1 x 50/s", "runs": 1, "rate": 50.0, "store": store, "tokens": tokens}
    more = {"p99_us": 1.0, "p999_us": 1.0, "cpu_us_per_token": 1.0, "redis_cpu_us_per_token": 0.0}
    load["machine_busy_with_others"] = 0.1
    return [
        {"round": number, **load, **more, "p50_us": value, "tokens_per_s": 50.0}
        for number, value in enumerate(p50_us, 1)
    ]


def result_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "date": "today",
        "command": "this",
        "machine": {"cores": 2, "cpu": "one", "kernel": "Linux"},
        "versions": {"python": "3", "sqlite": "3", "redis server": "redis 7"},
        "file_system": "ext4",
        "baseline": BASELINE,
        "left_out": [],
        "rows": rows,
    }


def test_ratios_are_those_of_pairs() -> None:
    """The median of the rounds' own ratios, not the ratio of the medians, with the least and the most."""
    text = tables(result_of([*rows(BASELINE, (10, 20, 40)), *rows("memory", (20, 20, 120))]))
    assert "2.00 (1.00 to 3.00)" in text
    assert "+10 µs" in text


def test_a_percentile_of_too_few_tokens_is_not_told() -> None:
    """Of 1,000 tokens ten lie beyond the 99th percentile, and one beyond the 99.9th."""
    lines = tables(result_of(rows(BASELINE, (10,)))).splitlines()
    (last,) = [line for line in lines if "| no log |" in line]
    assert last.split(" | ")[2:5] == ["10 µs", "1 µs", ""]


def test_a_budget_of_a_store_holds_is_missed_or_was_not_measured() -> None:
    """What a store adds is the median of the rounds' differences; the rest is its own."""
    made = [*rows(BASELINE, (1,)), *rows("redis", (1,)), *rows("sqlite", (1,))]
    for row, cpu_us in zip(made, (50.0, 80.0, 91.0), strict=True):
        row |= {"load": "1000 x 5/s", "cpu_us_per_token": cpu_us, "p99_us": 20_000.0}
    lines = [line for line in tables(result_of(made)).splitlines() if line.startswith("| 1000 x")]
    assert "| 1000 x 5 | redis | CPU a token, more than no log | 40 µs | 30.0 µs | yes |" in lines
    assert "| 1000 x 5 | sqlite | CPU a token, more than no log | 40 µs | 41.0 µs | **NO** |" in lines
    assert "| 1000 x 5 | sqlite | latency p99 | 20 ms | 20.0 ms | yes |" in lines
    assert "| 1000 x 20 | redis | latency p50 | 20 ms |  | not measured |" in lines


def test_tables_are_written_between_the_markers_alone(tmp_path: Path) -> None:
    """What stands around them stays; a page without markers is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale text\n{END}\nafter\n")
    write_into_page(page, result_of(rows(BASELINE, (10,))))
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "stale" not in text
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no markers"):
        write_into_page(page, result_of(rows(BASELINE, (10,))))


def test_the_page_shows_the_rows_that_are_kept() -> None:
    """No number of docs/performance.md was copied by hand."""
    root = Path(run_log_tables.__file__).resolve().parents[1]
    page = (root / "docs" / "performance.md").read_text(encoding="utf-8")
    assert tables(json.loads(run_log.RESULTS.read_text())) in page
