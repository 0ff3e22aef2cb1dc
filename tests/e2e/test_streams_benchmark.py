"""The benchmark of streams runs, with each bridge that it compares."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.streams import __main__ as benchmark
from bench.streams.bridges import (
    BRIDGES,
    GO,
    NAIVE,
    NODE,
    PEERS,
    PRODUCT,
    PRODUCT_CALLS,
    RAW,
    build_with,
    tool,
)
from bench.streams.cases import QUICK, WHOLE, Steady
from bench.streams.extremes import FLOOD, Beside, Disconnects
from bench.streams.full import disconnects, endings
from bench.streams.loader import build_loader, faults_of
from bench.streams.rounds import Means, interleaved
from tests.support.processes import ROOT


@pytest.mark.needs("node")
def test_every_bridge_serves_every_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with a row of its own, and nothing lost, doubled or refused by any."""
    out = tmp_path / "rows.json"
    names = (PRODUCT, PRODUCT_CALLS, NAIVE, NODE, RAW)
    assert benchmark.main(["--quick", "--bridges", ",".join(names), "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["left_out"] == {}
    assert {(row["load"], row["bridge"]) for row in result["rows"]} == {
        (case.name, name) for case in (WHOLE, *QUICK) for name in names
    }
    assert [row["bridge"] for row in result["rows"] if faults_of(row)] == []
    assert f"| {QUICK[0].name} | {NODE} |" in capsys.readouterr().out


@pytest.mark.needs("go")
def test_the_bridge_in_go_serves_every_case(tmp_path: Path) -> None:
    """Built here with the versions of the Go client, which the tests of that one have compiled already."""
    folder, client = tmp_path / "go", ROOT / "examples" / "go-client"
    shutil.copytree(PEERS / "go", folder)
    own, requirements = ((path / "go.mod").read_text().partition("\nrequire") for path in (folder, client))
    (folder / "go.mod").write_text(
        f"{own[0]}\nrequire{requirements[2]}\n"
        "require example.com/tokenwire/go-client v0.0.0\n"
        f"replace example.com/tokenwire/go-client => {client}\n"
    )
    shutil.copy(client / "go.sum", folder)
    program = tmp_path / "edge"
    build_with([tool("go"), "build", "-o", str(program), "./edge"], folder)
    known = next(bridge for bridge in BRIDGES if bridge.name == GO)
    bridge = replace(known, command=lambda port, core: [str(program), f"127.0.0.1:{port}", core])
    rows = interleaved(Means(build_loader(), {}), QUICK, [bridge], 1)
    assert [faults_of(row) for row in rows] == [0] * (len(QUICK) + 1)


def test_streams_that_are_left_or_stopped_are_cancelled() -> None:
    """Each agent, whether its client went away or asked for it; the journal has the time of each."""
    rows = list(endings(Means(build_loader(), {}), BRIDGES[0], streams=10, rounds=1))
    assert [row["load"].split()[1] for row in rows] == ["left", "left", "stopped", "stopped"]
    assert all(0 < row["cancel_ms"]["p50"] <= row["cancel_ms"]["max"] for row in rows)
    assert [faults_of(row) for row in rows] == [0] * 4


def test_nothing_is_left_of_many_disconnects() -> None:
    """In its smallest form: how much memory grows is not told by so few."""
    row = disconnects(Means(build_loader(), {}), BRIDGES[0], Disconnects(200, steps=2, at_once=10))
    assert (row["streams"], row["not_at_rest"]) == (200, {})
    assert len(row["checkpoints"]) == 2


def test_a_reader_that_never_reads_is_there_beside_the_others() -> None:
    """The others receive all that is theirs."""
    case = Beside(Steady(20, 20, open_s=0.2, warm_s=0.2, window_s=0.5), 2, FLOOD, "that never read")
    _, row = interleaved(Means(build_loader(), {}), [case], BRIDGES[:1], 1)
    assert (row["streams"], row["open"], faults_of(row)) == (22, 22, 0)
