"""StreamRun and FollowRun against a real core: order, exactness, packing, controls."""

import asyncio

import pytest

from agent_core.runs import pump
from tests.support.agents import SCRIPTED_TEXT
from tests.support.core import Core, events_of, rest_of, running_core, stream_request
from tokenwire.telemetry import clock_id
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import FINISH_REASON_STOP, Event
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, RUN_STATE_RUNNING

MIB = 1024 * 1024


def assert_dense(events: list[Event]) -> None:
    """A run is 1, 2, 3, …, in epoch 1, from run_started to its only terminal event."""
    assert [(event.epoch, event.sequence) for event in events] == [
        (1, sequence) for sequence in range(1, len(events) + 1)
    ]
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds[0] == "run_started"
    assert [kind for kind in kinds if kind in ("run_started", "done", "error")] == [kinds[0], kinds[-1]]


async def test_a_run_streams_every_kind_of_event_in_order() -> None:
    """What the agent yields is what the client reads, numbered, stamped, ended once."""
    async with running_core() as core:
        events = await core.events("scripted", session_id="s1")
    assert_dense(events)
    started, done = events[0].run_started, events[-1].done
    assert (started.session_id, started.agent, started.model) == ("s1", "scripted", "")
    assert [event.WhichOneof("payload") for event in events[1:-1]] == [
        *("progress", "reasoning_delta", "tool_start", "progress", "tool_result", "tool_start"),
        *("tool_result", "custom", "progress"),
        *["text_delta"] * 5,
    ]
    assert "".join(event.text_delta.content for event in events) == done.final_message == SCRIPTED_TEXT
    assert (done.finish_reason, done.usage.output_tokens) == (FINISH_REASON_STOP, 6)
    stamps = [nano for event in events for nano in (event.timing.model_nano, event.timing.logged_nano)]
    assert stamps == sorted(stamps)
    times = [event.create_time.ToNanoseconds() for event in events]
    assert times == sorted(times)


async def test_responses_name_their_run_and_clock() -> None:
    """The wall clock is told once, and nothing is sent before it was logged."""
    async with running_core() as core:
        responses = [response async for response in core.stub.StreamRun(stream_request("echo", "a b c"))]
    assert len({response.run_id for response in responses}) == 1
    assert {response.clock.id for response in responses} == {clock_id()}
    assert responses[0].clock.send_unix_nano > 0
    assert not any(response.clock.send_unix_nano for response in responses[1:])
    for response in responses:
        assert response.events
        assert not response.HasField("control")
        assert all(event.timing.logged_nano <= response.clock.send_nano for event in response.events)


async def test_an_idle_stream_gets_each_event_at_once() -> None:
    """The second word does not wait for the third: no timer, no batch."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("slow"))
        seen: list[int] = []
        while len(seen) < 4:
            response = await call.read()
            seen.append(len(response.events))
        call.cancel()
    assert sum(seen[2:]) == 2


async def test_following_after_any_cursor_gives_exactly_the_rest() -> None:
    """Byte for byte what the first stream had."""
    async with running_core() as core:
        events = await core.events("scripted")
        run_id = events[0].run_started.run_id
        for cursor in range(len(events) + 1):
            responses = await core.follow(run_id, cursor)
            assert events_of(responses) == events[cursor:]
            assert not any(response.HasField("control") for response in responses)


async def test_followers_of_a_live_run_get_it_exactly_wherever_they_come_in() -> None:
    """Replay meets live without gap or repetition, and is told of once."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("scripted"))
        first = await call.read()
        run_id = first.run_id
        followers = []
        for _ in range(20):
            followers.append(asyncio.create_task(core.follow(run_id)))
            await asyncio.sleep(0.005)
        events = [*first.events, *events_of(await rest_of(call))]
        for responses in await asyncio.gather(*followers):
            assert events_of(responses) == events
            controls = [response.control for response in responses if response.HasField("control")]
            assert len(controls) <= 1
            for response in responses:
                assert not (response.HasField("control") and response.events)


async def test_caught_up_is_said_once_where_replay_met_live() -> None:
    """The cursor is the last event sent before it."""
    async with running_core() as core:
        run_id = await core.start("silent")
        call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
        replay, control = await call.read(), await call.read()
        assert [event.sequence for event in replay.events] == [1]
        caught_up = control.control.caught_up
        assert (caught_up.cursor.epoch, caught_up.cursor.sequence) == (1, 1)
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        rest = await rest_of(call)
        assert [event.WhichOneof("payload") for event in events_of(rest)] == ["done"]
        assert not any(response.HasField("control") for response in rest)


@pytest.mark.parametrize("cursor", [{"sequence": 17}, {"epoch": 2, "sequence": 1}])
async def test_a_cursor_ahead_of_the_log_is_told_and_begins_anew(cursor: dict[str, int]) -> None:
    """Never silence: resync, then everything."""
    async with running_core() as core:
        events = await core.events("scripted")
        request = pb.FollowRunRequest(run_id=events[0].run_started.run_id)
        request.after.epoch, request.after.sequence = cursor.get("epoch", 0), cursor["sequence"]
        responses = [response async for response in core.stub.FollowRun(request)]
    resync = responses[0].control.resync
    assert (resync.first.sequence, resync.last.sequence, resync.reason) == (1, len(events), "ahead")
    assert events_of(responses) == events


async def test_a_backlog_is_packed_up_to_512_events() -> None:
    """An agent that never waits gets its say, and its reader gets few messages."""
    async with running_core() as core:
        message = " ".join(str(number) for number in range(3000))
        events = await core.events("echo", message)
        assert_dense(events)
        responses = await core.follow(events[0].run_started.run_id)
    sizes = [len(response.events) for response in responses]
    assert sum(sizes) == 3002
    assert sizes[:-1] == [512] * 5
    assert events[-1].done.final_message == message + " "


async def test_a_backlog_of_large_events_is_packed_up_to_1_mib() -> None:
    """Default clients refuse 4 MiB; one event is always sent, however large."""
    async with running_core(max_message_bytes=MIB) as core:
        message = " ".join(["x" * 61_600] * 17)
        events = await core.events("echo", message)
        responses = await core.follow(events[0].run_started.run_id)
    assert events_of(responses) == events
    assert max(response.ByteSize() for response in responses) <= MIB
    assert len(responses) == 2
    assert events[-1].done.final_message_omitted


async def test_an_agent_that_never_waits_leaves_the_loop_to_others() -> None:
    """Its own reader reads, another run runs, and it can be cancelled."""
    async with running_core() as core:
        call = core.stub.StreamRun(stream_request("flood"))
        run_id = (await call.read()).run_id
        others = await asyncio.wait_for(core.events("scripted"), 20)
        assert_dense(others)
        assert (await core.run(run_id)).state == RUN_STATE_RUNNING
        await asyncio.wait_for(core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id)), 20)
        rest = events_of(await rest_of(call))
        assert rest[-1].WhichOneof("payload") == "done"
        assert (await core.run(run_id)).state == RUN_STATE_ENDED


async def test_a_slow_reader_does_not_hold_the_others() -> None:
    """One who does not read at all only keeps its own call waiting."""
    async with running_core() as core:
        run_id = await core.start("echo", "x " * 5000, on_disconnect="ON_DISCONNECT_CONTINUE")
        stuck = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
        assert (await stuck.read()).events
        responses = await asyncio.wait_for(core.follow(run_id), 20)
        assert sum(len(response.events) for response in responses) == 5003
        stuck.cancel()


async def test_the_loop_gets_a_turn_every_few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a turn after every event the stream is the same: nothing depends on the number."""
    monkeypatch.setattr(pump, "EVENTS_PER_TURN", 1)
    async with running_core() as core:
        assert_dense(await core.events("echo", "a b c d"))


async def core_is_idle(core: Core) -> None:
    """Nothing of a run or a reader is left in the core."""
    assert len(core.server.manager.registry) == 0
    assert len(core.server.manager.followers) == 0


async def test_nothing_is_left_behind_by_calls_that_came_and_went() -> None:
    """Runs, followers and readers are forgotten when they are over."""
    async with running_core() as core:
        await core.events("scripted")
        run_id = await core.start("slow")
        for _ in range(5):
            call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id))
            await call.read()
            call.cancel()
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        await core.follow(run_id)
        async with asyncio.timeout(10):
            while core.server.manager.followers:
                await asyncio.sleep(0.01)
        await core_is_idle(core)
