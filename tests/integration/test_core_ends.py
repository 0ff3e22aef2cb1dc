"""One terminal event whatever happens, always last."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from agent_core.agents import AgentEvent, Custom, ReasoningDelta, RunRequest, ToolResult
from tests.integration.test_core_stream import assert_dense
from tests.support import agents
from tests.support.core import events_of, rest_of, running_core, stream_request
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import FINISH_REASON_CANCELLED, FINISH_REASON_STOP
from tokenwire.v1.run_pb2 import RUN_STATE_CANCELLING, RUN_STATE_ENDED, RUN_STATE_RUNNING


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("raises_before", ""),
        ("raises_after", "Well"),
        ("yields_rubbish", "So far so good"),
        ("no_iterator", ""),
        ("cancels_itself", "Hm"),
        ("exits", "Bye"),
    ],
)
async def test_a_rogue_agent_ends_its_run_in_internal(agent: str, text: str) -> None:
    """The user learns that it failed and nothing else; the core goes on."""
    async with running_core() as core:
        events = await core.events(agent)
        assert_dense(events)
        assert "".join(event.text_delta.content for event in events) == text
        error = events[-1].error
        assert (error.code, error.message, error.retryable) == ("INTERNAL", "The agent failed.", False)
        assert dict(error.details) == {"reason": "AGENT_FAILED"}
        assert b"secret" not in events[-1].SerializeToString()
        run = await core.run(events[0].run_started.run_id)
        assert (run.state, run.outcome.event, run.outcome.reason) == (RUN_STATE_ENDED, "error", "INTERNAL")
        assert_dense(await core.events("scripted"))


async def test_a_coroutine_of_text_is_a_whole_answer() -> None:
    """Also where a plain function returns it: looking at that does not tell."""
    async with running_core() as core:
        events = await core.events("no_generator", message="hi")
    assert events[-1].done.final_message == "all at once: hi"


async def test_characters_that_an_agent_yields_in_halves_come_whole() -> None:
    """In text and reasoning, which take turns here; a half without the other one is told at the end."""
    async with running_core() as core:
        events = await core.events("halves")
    assert_dense(events)
    assert "".join(event.text_delta.content for event in events) == "Hi \U0001f600!\ufffd"
    assert "".join(event.reasoning_delta.content for event in events) == "Hi \U0001f600!\ufffd"
    assert events[-1].done.final_message == "Hi \U0001f600!\ufffd"


async def test_what_an_agent_raised_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The operator sees what the user does not."""
    async with running_core() as core:
        await core.events("raises_after")
    assert "secret of raises_after" in caplog.text


async def test_an_agents_own_error_reaches_the_user() -> None:
    """AgentError says code, message, retryable and details."""
    async with running_core() as core:
        events = await core.events("refuses")
    assert_dense(events)
    error = events[-1].error
    assert (error.code, error.message, error.retryable) == ("RESOURCE_EXHAUSTED", "Too many fruits.", True)
    assert dict(error.details) == {"provider": "fruit"}


async def test_an_agent_that_says_nothing_is_done() -> None:
    """An empty answer is an answer."""
    async with running_core() as core:
        events = await core.events("says_nothing")
    assert [event.WhichOneof("payload") for event in events] == ["run_started", "done"]
    assert (events[-1].done.final_message, events[-1].done.finish_reason) == ("", FINISH_REASON_STOP)


@pytest.mark.parametrize(
    ("agent", "text"), [("slow", "Slow"), ("swallows_cancel", "I stay"), ("raises_when_cancelled", "Wait")]
)
async def test_cancel_keeps_the_text_so_far(agent: str, text: str) -> None:
    """What an agent says after it was cancelled is ignored. Cancelling again changes nothing."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request(agent))
        events = events_of([await call.read()])
        while not events[-1].HasField("text_delta"):
            events += events_of([await call.read()])
        run_id = events[0].run_started.run_id
        request = pb.CancelRunRequest(run_id=run_id, cause=pb.CANCEL_CAUSE_STOP)
        states = [(await core.stub.CancelRun(request)).run for _ in range(3)]
        events += events_of(await rest_of(call))
        assert_dense(events)
        done = events[-1].done
        assert done.finish_reason == FINISH_REASON_CANCELLED
        assert done.final_message == "".join(event.text_delta.content for event in events)
        assert done.final_message.startswith(text)
        assert "go on" not in done.final_message
        assert [state.state for state in states] == [RUN_STATE_ENDED] * 3
        assert states[0] == states[2]
        assert (states[0].outcome.event, states[0].outcome.reason) == ("done", "cancelled")


async def test_an_agent_that_does_not_stop_loses_its_run(caplog: pytest.LogCaptureFixture) -> None:
    """After a bounded time the run ends without it, and what it says later is ignored."""
    agents.release.clear()
    async with running_core(stop_grace_s=0.5) as core:
        call = core.stub.StreamRun(stream_request("stuck"))
        run_id = (await call.read()).run_id
        cancelled = (await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))).run
        assert cancelled.state == RUN_STATE_CANCELLING
        events = events_of(await rest_of(call))
        assert events[-1].done.finish_reason == FINISH_REASON_CANCELLED
        assert len(core.server.manager.unstopped_agents) == 1
        agents.release.set()
        async with asyncio.timeout(5):
            while core.server.manager.unstopped_agents:
                await asyncio.sleep(0.01)
        replay = events_of(await core.follow(run_id))
        assert_dense(replay)
        assert "too late" not in replay[-1].done.final_message
    assert "but its agent does not stop" in caplog.text
    assert "continued after it was stopped" in caplog.text


async def test_a_cancelled_agent_sees_cancelled_error_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits, and at its `yield` when it never waits."""
    path = tmp_path / "journal"
    monkeypatch.setenv(agents.JOURNAL, str(path))
    async with running_core() as core:
        for agent in ("silent", "flood"):
            run_id = await core.start(agent)
            await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(entry["agent"], entry["event"], entry.get("error")) for entry in entries] == [
        ("silent", "started", None),
        ("silent", "cancelled", "CancelledError"),
        ("flood", "started", None),
        ("flood", "cancelled", "CancelledError"),
    ]


@pytest.mark.parametrize("limit", [{"max_run_bytes": 10_000}, {"max_run_events": 200}])
async def test_a_run_that_writes_too_much_ends_so(limit: dict[str, int]) -> None:
    """The core's memory is not the agent's. What was said up to then is there, and no more."""
    async with running_core(**limit) as core:
        events = await core.events("flood")
        assert events_of(await core.follow(events[0].run_started.run_id)) == events
    assert_dense(events)
    assert len(events) <= limit.get("max_run_events", 10_000) + 1
    assert {event.text_delta.content for event in events[1:-1]} == {"drop "}
    assert events[-1].error.code == "RESOURCE_EXHAUSTED"
    assert events[-1].error.details["reason"] == "RUN_TOO_LARGE"


async def says_too_much_at_once(request: RunRequest) -> AsyncIterator[AgentEvent | str]:
    """Yield a word, then one thing that is far larger than a run may be."""
    yield "first"
    yield {
        "text": "x" * 3_000_000,
        "reasoning": ReasoningDelta("x" * 3_000_000),
        "tool": ToolResult("c", "t", "x" * 1_000_000),
        "custom": Custom("c", "x" * 1_000_000),
    }[request.message]


@pytest.mark.parametrize("kind", ["text", "reasoning", "tool", "custom"])
async def test_one_yield_that_is_too_large_ends_the_run_and_is_not_kept(kind: str) -> None:
    """None of it reaches the log; what was said before stands."""
    agent = f"{__name__}:{says_too_much_at_once.__name__}"
    async with running_core(agent=f"huge={agent}", max_run_bytes=500_000) as core:
        events = await core.events("huge", kind)
        log = core.server.manager._log
        assert log._size_bytes < 100_000
    assert [event.WhichOneof("payload") for event in events] == ["run_started", "text_delta", "error"]
    assert events[1].text_delta.content == "first"
    assert (events[-1].error.code, events[-1].error.details["reason"]) == (
        "RESOURCE_EXHAUSTED",
        "RUN_TOO_LARGE",
    )


async def test_a_runs_timeout_ends_it_in_deadline_exceeded() -> None:
    """The spec's timeout, in the log for whoever follows."""
    async with running_core() as core:
        began = time.monotonic()
        events = await core.events("slow", timeout={"nanos": 300_000_000})
        assert_dense(events)
        assert events[-1].error.code == "DEADLINE_EXCEEDED"
        assert events[-1].error.details["reason"] == "RUN_TIMEOUT"
        assert events[-1].error.retryable
        assert 0.25 < time.monotonic() - began < 5


async def test_the_cores_own_limit_ends_a_run() -> None:
    """Whatever the spec allows."""
    async with running_core(run_timeout_s=0.2) as core:
        events = await core.events("silent", timeout={"seconds": 3600})
        assert events[-1].error.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("policy", ["ON_DISCONNECT_CANCEL", "ON_DISCONNECT_CONTINUE"])
async def test_the_calls_deadline_is_the_runs_too(policy: str) -> None:
    """It is an error, not a cancellation, though the client has gone: its patience was over."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("slow", on_disconnect=policy), timeout=2)
        run_id = (await call.read()).run_id
        with suppress(grpc.aio.AioRpcError):
            await rest_of(call)  # The terminal event may arrive before the client's own timer fires.
        assert await call.code() in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED)
        events = events_of(await core.follow(run_id))
        assert_dense(events)
        assert events[-1].error.code == "DEADLINE_EXCEEDED"


async def test_the_agent_knows_its_deadline() -> None:
    """It can give its own calls what is left."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("hurries"), timeout=100)
        said = [event.text_delta.content async for response in call for event in response.events]
        assert 90 < float("".join(said)) <= 101


async def test_start_run_answers_when_run_started_is_logged() -> None:
    """Nobody follows, the model may not have been called, and the run is there."""
    async with running_core() as core:
        response = await core.stub.StartRun(
            pb.StartRunRequest(run={"message": "hi", "agent": "silent", "session_id": "s"})
        )
        run = response.run
        assert (run.state, run.last.sequence, run.first.sequence) == (RUN_STATE_RUNNING, 1, 1)
        assert (run.agent, run.session_id) == ("silent", "s")
        assert not run.HasField("end_time")
        assert not run.HasField("expire_time")
        assert not run.HasField("outcome")
        assert await core.run(run.run_id) == run


async def test_a_call_that_ends_with_its_time_does_not_cancel_the_run() -> None:
    """The client's timer fires a moment before the core's: the run is out of time all the same."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("slow"), timeout=30)
        run_id = (await call.read()).run_id
        run = core.server.manager.live(run_id)
        assert run is not None
        # As if 30 s had passed, but for the slack: the client goes first.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("agent_core.rpc.service.time", _Shifted(29.9))
            call.cancel()
            await asyncio.wait_for(run.ended.wait(), 5)
        events = events_of(await core.follow(run_id))
        assert events[-1].error.code == "DEADLINE_EXCEEDED"


class _Shifted:
    """The module `time`, some seconds later."""

    time_ns = staticmethod(time.time_ns)

    def __init__(self, by_s: float) -> None:
        self._by_s = by_s

    def monotonic(self) -> float:
        return time.monotonic() + self._by_s


@pytest.mark.parametrize("turns", range(6))
async def test_a_run_that_is_cancelled_as_it_begins_ends_as_any_other(turns: int) -> None:
    """Before its agent has taken a step, or just after."""
    async with running_core() as core:
        run_id = await core.start("silent")
        run = core.server.manager.live(run_id)
        assert run is not None
        again = core.server.manager
        for _ in range(turns):
            await asyncio.sleep(0)
        await again.cancel(run_id, "anonymous")
        events = events_of(await core.follow(run_id))
        assert [event.WhichOneof("payload") for event in events] == ["run_started", "done"]
        assert events[-1].done.finish_reason == FINISH_REASON_CANCELLED


async def test_a_run_whose_log_is_gone_stops_its_agent(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody could ever read what it says."""
    async with running_core() as core:
        run_id = await core.start("slow")
        run = core.server.manager.live(run_id)
        assert run is not None
        await core.server.manager._log.delete(run_id)
        await asyncio.wait_for(run.ended.wait(), 5)
        assert core.server.manager.live(run_id) is None
    assert "was lost" in caplog.text
