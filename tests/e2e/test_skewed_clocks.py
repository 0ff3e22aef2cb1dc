"""A core on a machine whose clock is off: said with its error, never hidden, and the blame is right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.conducted import Conductor
from tests.support.planting import Planting, assert_planted
from tests.support.processes import Processes, Running, core_is_serving, free_port
from tests.support.token_rows import attributes_of_root, rows_of, stalls_of
from tests.support.traced import Traced, traced_processes

TOKENS: Final = 1_200
RATE: Final = 100.0
SECOND_US: Final = 1_000_000
BOOT_ID: Final = "0f7b1bd2-3bfa-4a10-9f55-1f0c4a9f5d77\n"

pytestmark = [pytest.mark.needs("rotel"), pytest.mark.timeout(180)]


@pytest.fixture(params=[1.5, -1.5], ids=["ahead", "behind"])
def skew_s(request: pytest.FixtureRequest) -> float:
    """By how much the core's wall clock is ahead of the edge's."""
    seconds: float = request.param
    return seconds


@pytest.fixture
def traced(processes: Processes, tmp_path: Path, skew_s: float) -> Iterator[Traced]:
    """An edge, and a core whose clocks are those of another machine."""
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(BOOT_ID)

    def start(processes: Processes, settings: dict[str, str]) -> tuple[str, Running]:
        port = free_port()
        command = [sys.executable, "-m", "tests.support.skewed_core", str(skew_s), str(boot_id)]
        core = processes.start("core", command, {**settings, "TOKENWIRE_GRPC_PORT": str(port)})
        core.wait_ready(lambda: core_is_serving(f"127.0.0.1:{port}"))
        return f"127.0.0.1:{port}", core

    with traced_processes(processes, start=start) as found:
        yield found


def test_the_offset_of_a_skewed_core_is_published_with_its_error(traced: Traced, skew_s: float) -> None:
    """Raw stamps are the core's own, the truth is within the error, and each stall is where it was."""
    with Conductor() as conductor:
        with traced.chat(conductor.order(TOKENS, RATE, range(200, TOKENS, 200))) as stream:
            conductor.accept()
            planting = Planting(traced, conductor, stream)
            planting.by_agent("sleep", "model")
            planting.in_link()
            planting.by_agent("block", "model", cause="core_loop")
            planting.in_process(traced.edge, "edge_loop", "link")
            planting.in_link()
            conductor.yielded()
            stream.to_end()
        assert stream.frames[-1].event["type"] == "done"
    root = traced.sink.wait_for_root(stream.trace_id)
    spans = traced.sink.of_trace(stream.trace_id)

    for each in (root, *(each for each in spans if each.name == "tokens")):
        said = each.attributes
        assert said["tokenwire.clock.method"] == "bounds"
        offset_us, error_us = said["tokenwire.clock.offset_us"], said["tokenwire.clock.error_us"]
        assert abs(offset_us + skew_s * SECOND_US) <= error_us
        assert error_us < SECOND_US / 4, "it says something"

    rows = rows_of(spans)
    assert sorted(rows) == list(range(1, TOKENS + 3))
    held = {plant.sequence for plant in planting.plants}
    for frame in stream.deltas:
        row = rows[frame.sequence].stamps
        assert not rows[frame.sequence].replayed
        assert row["model"] <= row["logged"] <= row["send"], "the core's, in order"
        assert row["recv"] <= row["write"], "the edge's, in order"
        assert abs(row["model"] - frame.event["timestamp"] * 1000) <= 100, "as the core's clock went"
        if frame.sequence not in held:
            assert row["send"] - row["recv"] <= skew_s * SECOND_US, "nothing came before it was sent"

    told = attributes_of_root(root)
    assert (told["tokens"], told["dropped"], told["outcome"]) == (TOKENS, 0, "completed")
    stalls = stalls_of(spans)
    assert told["stalls"] == len(stalls)
    assert_planted(stalls, planting, traced)
