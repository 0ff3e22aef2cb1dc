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
from bench.streams.cases import QUICK
from bench.streams.loader import build_loader, faults_of
from bench.streams.rounds import interleaved
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
        (case.name, name) for case in QUICK for name in names
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
    rows = interleaved(QUICK, [bridge], 1, build_loader(), {})
    assert [faults_of(row) for row in rows] == [0] * len(QUICK)
