from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.otlp_lines import MS, START_NS, Plant, make_stream, write_lines
from tokenwire.traces.as_json import trace_object
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.source import choose
from tokenwire.traces.streams import assemble


def test_the_object_holds_rows_stalls_spans_and_summary(tmp_path: Path) -> None:
    """Microseconds since the stream's start, for each stage of each row."""
    made = make_stream(300, [Plant(117, "link", 812, behind=40)], browser=True)
    source = TraceFiles([write_lines(tmp_path / "s.jsonl", made)], pytest.fail)
    content = json.loads(
        json.dumps(trace_object(assemble(source.trace(choose(made.id, source.candidates(made.id))))))
    )
    assert (content["trace_id"], content["run_ids"]) == (made.id, [made.run_id])
    (stream,) = content["streams"]
    assert stream["start_unix_ns"] == START_NS
    assert stream["root"]["outcome"] == "completed"
    assert [row["sequence"] for row in stream["rows"]] == list(range(1, 301))
    for stage, stamps in made.stamps.items():
        told = [row["us"][stage] for row in stream["rows"]]
        assert all(abs(us - (stamp - START_NS) / 1_000) < 2 for us, stamp in zip(told, stamps, strict=True))
    (stall,) = stream["stalls"]
    assert (stall["sequence"], stall["hop"], stall["ms"], stall["behind"]) == (117, "link", 812, 40)
    assert (stall["open"], stall["cause"]) == (False, None)
    assert stream["summary"]["link"]["max_sequence"] == 117
    assert abs(stream["summary"]["link"]["max_us"] - 812 * MS / 1_000) < 1_000
    assert list(stream["summary"]) == ["model", "log", "send", "link", "write", "browser", "gap"]
    row = stream["rows"][116]
    assert row["hop_us"]["link"] > 800_000
    assert row["gap_us"] > 800_000
    assert stream["rows"][0]["gap_us"] is None
    assert {span["name"] for span in content["spans"]} >= {
        "POST /api/chat",
        "invoke_agent assistant",
        "stall link",
    }
    assert not any(
        name.endswith("_us") for span in content["spans"] for name in span["attributes"] if "tokens" in name
    )
