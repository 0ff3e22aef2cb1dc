"""What the log says of streams: one line each, one for each stall, and nothing of what was said."""

from __future__ import annotations

import json
import logging

import pytest

from tests.support.core import running_core, stream_request
from tests.support.stack import running_stack

pytestmark = pytest.mark.usefixtures("transport")

LOGGER = "tokenwire.telemetry.token_recorder"


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[logging.LogRecord]:
    """Return what was logged of streams at a level."""
    return [record for record in caplog.records if record.name == LOGGER and record.levelno == level]


async def test_a_stream_has_one_line_with_its_run_and_its_figures(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else is traced or not; no text of it is in the log."""
    caplog.set_level(logging.INFO)
    async with running_stack() as stack, stack.chat("a secret question", agent="scripted") as response:
        await response.aread()
    (line,) = lines(caplog, logging.INFO)
    told = vars(line)
    assert told["run_id"] == response.headers["run-id"]
    assert (told["outcome"], told["tokens"]) == ("completed", 6)
    assert told["ttft_ms"] >= 0
    assert told["gap_max_hop"] in {"model", "log", "send", "link", "write"}
    assert "secret" not in caplog.text
    assert lines(caplog, logging.WARNING) == []


async def test_each_stall_is_a_warning_with_its_token_and_hop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that takes longer for a token than allowed."""
    monkeypatch.setenv("TOKENWIRE_STALL_MS", "100")
    caplog.set_level(logging.INFO)
    order = json.dumps({"tokens": 3, "rate": 4})
    async with running_stack() as stack, stack.chat(order, agent="pace") as response:
        await response.aread()
    told = [record.getMessage() for record in lines(caplog, logging.WARNING)]
    assert len(told) == 2
    for sequence, text in zip((3, 4), told, strict=True):
        assert text.startswith(f"stall: token {sequence} of run {response.headers['run-id']}, model, 2")


async def test_a_direct_callers_stream_has_its_line_at_the_core(caplog: pytest.LogCaptureFixture) -> None:
    """And that of an edge has none there: it is the edge's."""
    caplog.set_level(logging.INFO)
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("scripted"))
        run_ids = {response.run_id async for response in call}
        async for _ in core.stub.StreamRun(stream_request("scripted", relay=True)):
            pass
    (line,) = lines(caplog, logging.INFO)
    assert {vars(line)["run_id"]} == run_ids
    assert vars(line)["outcome"] == "completed"
