"""Streams that stall or fail are exported though the sampler has not chosen them; the others are not."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from tests.support import core as core_support
from tests.support.spans import Spans, unsampled_spans
from tests.support.stack import running_stack
from tokenwire.rate import Rate
from tokenwire.telemetry import kept, lost_spans

pytestmark = pytest.mark.usefixtures("transport")

__all__ = ["unsampled_spans"]

POST = "POST /api/chat"
RPC = "tokenwire.v1.AgentService/StreamRun"


@pytest.fixture(autouse=True)
def full_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been kept yet."""
    monkeypatch.setattr(kept, "_rate", Rate(kept.KEPT_PER_S))


def check_kept(spans: list[ReadableSpan], name: str, reason: str) -> ReadableSpan:
    """Return the root of what was kept: one whole trace, all of it sampled, with the stream's tokens."""
    (root,) = [span for span in spans if span.parent is None]
    assert root.name == name
    assert root.attributes is not None
    assert root.attributes["tokenwire.sampled"] == reason
    assert root.attributes["tokenwire.run.id"]
    for span in spans:
        assert span.context is not None
        assert span.context.trace_flags.sampled
        assert span is root or span.parent == root.context
    assert "tokens" in {span.name for span in spans}
    return root


async def test_a_failed_stream_is_kept_with_its_tokens(unsampled_spans: Spans) -> None:
    """Under the trace id that its error event and the response's header have told."""
    async with running_stack() as stack:
        async with stack.chat(agent="raises_after") as response:
            text = (await response.aread()).decode()
        await unsampled_spans.wait_for(POST)
    root = check_kept(unsampled_spans.all(), POST, "error")
    assert root.status.status_code is StatusCode.ERROR
    assert root.context is not None
    trace_id = f"{root.context.trace_id:032x}"
    assert response.headers["traceparent"].split("-")[1] == trace_id
    assert f'"traceId":"{trace_id}"' in text


async def test_a_stalled_stream_is_kept_and_a_good_one_is_not(
    unsampled_spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threshold decides: here every gap is a stall, and there none."""
    async with running_stack() as stack:
        async with stack.chat(agent="scripted") as response:
            await response.aread()
        await unsampled_spans.all_ended()
    assert unsampled_spans.all() == []
    monkeypatch.setenv("TOKENWIRE_STALL_MS", "0.001")
    async with running_stack() as stack:
        async with stack.chat(agent="scripted") as response:
            await response.aread()
        await unsampled_spans.wait_for(POST)
    root = check_kept(unsampled_spans.all(), POST, "stall")
    assert root.status.status_code is StatusCode.UNSET
    assert any(span.name.startswith("stall ") for span in unsampled_spans.all())


async def test_a_direct_callers_failed_stream_is_kept_at_the_core(unsampled_spans: Spans) -> None:
    """Services that call the core have no edge that keeps it."""
    async with core_support.running_core() as core:
        await core.events("raises_after")
        await unsampled_spans.wait_for(RPC)
    check_kept(unsampled_spans.all(), RPC, "error")


async def test_only_so_many_failed_streams_a_second_are_kept(
    unsampled_spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are counted as lost."""
    before = lost_spans()["kept_rate"]
    monkeypatch.setattr(kept, "_rate", Rate(2, clock_s=lambda: 0.0))  # All within one moment.
    async with running_stack() as stack:
        for _ in range(5):
            async with stack.chat(agent="raises_after") as response:
                await response.aread()
        await unsampled_spans.all_ended()
    assert len(unsampled_spans.named(POST)) == 2
    assert lost_spans()["kept_rate"] - before == 3
