"""The link: runs started and followed over one stream, as an edge does.

One module, since each message of the contract is tried by the same few helpers.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from agent_core.agents.catalogue import NamedAgent
from agent_core.rpc.link import follows as link_follows
from tests.integration.test_core_stream import assert_dense
from tests.support.core import events_of, refusal_of, rest_of, running_core, stream_request
from tests.support.link_client import WITHIN_S, LinkClient, linked
from tests.support.owners import store_settings
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import FINISH_REASON_CANCELLED, Error
from tokenwire.v1.link_pb2 import (
    UNFOLLOW_REASON_DRAIN,
    FollowCredit,
    LinkCaller,
    LinkCancel,
    LinkHello,
    LinkRequest,
)
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, RUN_STATE_RUNNING

PLENTY_BYTES = 1_000_000


async def test_a_link_answers_its_hello_and_streams_what_it_starts() -> None:
    """The welcome names the core, the first batch the run; the end comes with the terminal event."""
    async with running_core() as core, linked(core) as link:
        assert link.responses[0].hello.incarnation == core.server.manager.incarnation
        await link.start(7, "scripted")
        last = await link.ended(7)
        batches = link.batches(7)
        assert_dense(link.events(7))
        assert last.events[-1].HasField("done")
        assert not last.end.HasField("error")
        assert [bool(batch.run_id) for batch in batches] == [True] + [False] * (len(batches) - 1)
        assert batches[0].run_id == link.events(7)[0].run_started.run_id
        for batch in batches:
            assert batch.event_bytes == sum(event.ByteSize() for event in batch.events)
            assert not batch.HasField("control")
        clocks = [response.clock for response in link.responses]
        assert all(clock.id and clock.send_unix_nano for clock in clocks)
        assert [clock.send_nano for clock in clocks] == sorted(clock.send_nano for clock in clocks)


async def test_a_core_says_that_it_has_links() -> None:
    """An edge need not try."""
    async with running_core() as core:
        assert (await core.stub.GetCore(pb.GetCoreRequest())).core.link


async def test_a_follow_goes_on_after_its_cursor() -> None:
    """What is in the log, the word that this was all, then what comes; an ended run ends at once."""
    async with running_core() as core, linked(core) as link:
        run_id = await core.start("slow")
        await link.follow(1, run_id)
        await link.until(lambda: len(link.events(1)) >= 3)
        await link.follow(2, run_id, sequence=2)
        await link.until(lambda: "caught_up" in link.controls(2) and len(link.events(2)) >= 2)
        assert link.events(2)[0].sequence == 3
        assert link.controls(1) == link.controls(2) == ["caught_up"]
        await core.stub.CancelRun(pb.CancelRunRequest(run_id=run_id))
        last = (await link.ended(2)).events[-1]
        await link.follow(3, run_id, sequence=last.sequence)
        end = await link.ended(3)
        assert not end.events
        assert not end.end.HasField("error")
        await link.follow(4, run_id, sequence=last.sequence + 7)
        await link.ended(4)
        assert link.controls(4) == ["resync"]
        assert_dense(link.events(4))


async def test_that_the_replay_is_over_is_said_though_nothing_comes() -> None:
    """The run is silent: its follower must not wait for its next event to hear of it."""
    async with running_core() as core, linked(core) as link:
        await link.follow(1, await core.start("silent"))
        await link.until(lambda: link.controls(1) == ["caught_up"])
        assert len(link.events(1)) == 1


async def test_credit_is_kept_to_and_what_waits_comes_from_the_log() -> None:
    """Not an event more than was allowed, while another follow goes on."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "scripted", credit=FollowCredit(events=2, bytes=PLENTY_BYTES))
        await link.start(2, "scripted")
        await link.ended(2)
        assert [event.sequence for event in link.events(1)] == [1, 2]
        await link.credit(1, 3)
        await link.until(lambda: len(link.events(1)) >= 5)
        await link.credit(1, 1_000)
        await link.ended(1)
        assert_dense(link.events(1))


@pytest.mark.parametrize(
    "store", ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.needs("redis"))]
)
async def test_a_run_that_says_more_than_the_credit_arrives_whole(store: str, tmp_path: Path) -> None:
    """Credit comes back as the edge goes on, of so few bytes that single events overdraw it."""
    settings = store_settings(store, tmp_path) | {"principal_key": ""}
    async with running_core(**settings) as core, linked(core) as link:
        await link.start(1, "echo", "word " * 3_000, credit=FollowCredit(events=10, bytes=100))
        events = size_bytes = 0
        while events < 300:
            await link.until(lambda before=events: len(link.events(1)) > before)
            new, told = len(link.events(1)), sum(batch.event_bytes for batch in link.batches(1))
            assert new <= events + 10
            await link.credit(1, new - events, told - size_bytes)
            events, size_bytes = new, told
        await link.credit(1, 100_000, 100_000_000)
        await link.ended(1)
        assert_dense(link.events(1))
        assert len(link.events(1)) == 3_003


async def test_a_follow_that_is_behind_the_memory_of_a_store_reads_it(tmp_path: Path) -> None:
    """All of a long run, while another run goes on over the same link."""
    async with running_core(store=f"sqlite:{tmp_path / 'log.db'}") as core, linked(core) as link:
        run_id = await core.start("echo", "word " * 6_000)
        await link.start(2, "slow")
        async with asyncio.timeout(WITHIN_S):
            while (await core.run(run_id)).state != RUN_STATE_ENDED:
                await asyncio.sleep(0.02)
        await link.follow(1, run_id)
        await link.ended(1)
        assert_dense(link.events(1))
        assert len(link.events(1)) == 6_003
        assert not link.has_ended(2)


async def told(link: LinkClient, follow_id: int) -> Error:
    """Return with what a follow ends, without what names it in the log."""
    error = (await link.ended(follow_id)).end.error
    assert len(error.trace_id) == 32
    error.trace_id = ""
    return error


async def told_by_call(call: Any) -> Error:
    """Return the same of a refused call."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rest_of(call)
    refusal = refusal_of(caught.value)
    details = {"reason": refusal.info.reason, **refusal.info.metadata}
    if refusal.bad_request.field_violations:
        violation = refusal.bad_request.field_violations[0]
        details |= {"field": violation.field, "violation": violation.description}
    if refusal.retry.HasField("retry_delay"):
        details["retry_after_ms"] = str(refusal.retry.retry_delay.ToMilliseconds())
    retryable = refusal.code in {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}
    return Error(code=refusal.code, message=refusal.message, details=details, retryable=retryable)


STARTS: list[dict[str, Any]] = [
    {"agent": "nobody"},
    {"agent": "echo", "message": ""},
    {"agent": "echo", "session_id": "a b", "timeout": Duration(seconds=-1)},
    {"agent": "echo", "message": "other", "request_id": "used"},
    {"agent": "echo", "session_id": "busy"},
]


async def test_what_is_refused_is_refused_as_the_call_would_be() -> None:
    """Code, message, reason and details; one of them never ends the link, nor its neighbours."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow", session_id="busy")
        await core.start("echo", "first", request_id="used")
        await link.until(lambda: bool(link.events(1)))
        for number, given in enumerate(STARTS, 100):
            spec = {"message": "hi", **given}
            await link.start(number, **spec)
            assert await told(link, number) == await told_by_call(core.stub.StreamRun(stream_request(**spec)))
        tag = core.server.manager.incarnation
        other = ("a" if tag[0] != "a" else "b") + tag[1:]
        for number, run_id in enumerate((tag + "a" * 26, other + "a" * 26, "nonsense", ""), 200):
            await link.follow(number, run_id)
            call = core.stub.FollowRun(pb.FollowRunRequest(run_id=run_id, relay=True))
            assert await told(link, number) == await told_by_call(call)
        before = len(link.events(1))
        await link.until(lambda: len(link.events(1)) > before)


async def test_a_start_that_takes_long_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent may take seconds to be loaded; others start, and those who left it are not kept."""
    loaded = asyncio.Event()
    async with running_core() as core:
        get = core.server.agents.get

        async def slowly(name: str) -> NamedAgent:
            if name == "scripted":
                await loaded.wait()
            return await get(name)

        monkeypatch.setattr(core.server.agents, "get", slowly)
        async with linked(core) as link:
            await link.start(1, "scripted")
            await link.start(2, "echo")
            await link.ended(2)
            assert not link.batches(1)
            loaded.set()
            await link.ended(1)
            assert_dense(link.events(1))


async def test_only_so_many_requests_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond is refused at once, and works later."""
    monkeypatch.setattr(link_follows, "MAX_OPENING", 2)
    loaded = asyncio.Event()
    async with running_core() as core:
        get = core.server.agents.get

        async def slowly(name: str) -> NamedAgent:
            await loaded.wait()
            return await get(name)

        monkeypatch.setattr(core.server.agents, "get", slowly)
        async with linked(core) as link:
            for follow_id in (1, 2, 3):
                await link.start(follow_id, "echo")
            error = (await link.ended(3)).end.error
            assert (error.code, error.details["reason"]) == ("RESOURCE_EXHAUSTED", "LINK_REQUESTS_LIMIT")
            assert error.retryable
            loaded.set()
            await link.ended(1)
            await link.ended(2)
            await link.start(4, "echo")
            assert not (await link.ended(4)).end.HasField("error")


async def test_a_cancellation_waits_where_too_much_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no answer that could tell of a refusal: it is done later, and so is what is asked behind it."""
    monkeypatch.setattr(link_follows, "MAX_OPENING", 1)
    loaded = asyncio.Event()
    async with running_core() as core:
        run_id = await core.start("slow")
        get = core.server.agents.get

        async def slowly(name: str) -> NamedAgent:
            await loaded.wait()
            return await get(name)

        monkeypatch.setattr(core.server.agents, "get", slowly)
        async with linked(core) as link:
            await link.start(1, "echo")
            await link.send(LinkRequest(cancel=LinkCancel(run_id=run_id)))
            await link.start(2, "echo")
            await core.stub.GetCore(pb.GetCoreRequest())
            assert (await core.run(run_id)).state == RUN_STATE_RUNNING
            loaded.set()
            await link.ended(1)
            await link.until(lambda: bool(link.batches(2)))
            async with asyncio.timeout(WITHIN_S):
                while (await core.run(run_id)).state != RUN_STATE_ENDED:
                    await asyncio.sleep(0.01)


async def test_a_bug_in_one_follow_is_that_follows_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """INTERNAL, with a trace id that the log has beside the traceback."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow")
        await link.until(lambda: bool(link.events(1)))
        monkeypatch.setattr(core.server.manager, "follow", None)
        await link.start(2, "slow")
        error = (await link.ended(2)).end.error
        assert (error.code, error.details["reason"]) == ("INTERNAL", "CORE_FAILED")
        assert "NoneType" not in error.message
        assert "NoneType" in caplog.text
        before = len(link.events(1))
        await link.until(lambda: len(link.events(1)) > before)


async def test_an_id_that_is_used_twice_ends_what_it_could_be_taken_for() -> None:
    """Not the link: the edge is told, and its other streams go on."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow")
        await link.start(2, "slow")
        await link.until(lambda: bool(link.events(1)) and bool(link.events(2)))
        await link.start(1, "echo")
        error = (await link.ended(1)).end.error
        assert (error.code, error.details["reason"]) == ("INVALID_ARGUMENT", "FOLLOW_ID_REUSED")
        before = len(link.events(2))
        await link.until(lambda: len(link.events(2)) > before)
        assert await core.server.manager.runs("anonymous", "", 1, None) == []


async def test_what_names_no_follow_is_passed_over() -> None:
    """Credit and unfollow of one that has ended or never was, a second hello, and what a newer edge knows."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "echo")
        await link.ended(1)
        for follow_id in (1, 2):
            await link.credit(follow_id, 1, 1)
            await link.unfollow(follow_id, UNFOLLOW_REASON_DRAIN)
        await link.send(LinkRequest(hello=LinkHello(edge_id="again")))
        await link.send(LinkRequest())
        await link.send(LinkRequest.FromString(b"\xfa\x01\x02hi"))
        await link.start(3, "echo")
        await link.ended(3)
        assert [response.HasField("hello") for response in link.responses].count(True) == 1


async def test_a_cancelled_run_tells_its_followers() -> None:
    """The text so far stands; of an unknown run nothing happens."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow")
        await link.until(lambda: len(link.events(1)) > 2)
        for run_id in ("nonsense", core.server.manager.incarnation + "a" * 26, link.run_id(1)):
            await link.send(LinkRequest(cancel=LinkCancel(run_id=run_id)))
        last = await link.ended(1)
        assert last.events[-1].done.finish_reason == FINISH_REASON_CANCELLED


async def test_a_repeated_request_gets_the_same_run() -> None:
    """From its first event on, by both doors."""
    async with running_core() as core, linked(core) as link:
        for follow_id in (1, 2):
            await link.start(follow_id, "slow", request_id="r1")
            await link.until(lambda follow_id=follow_id: bool(link.events(follow_id)))
        assert link.run_id(1) == link.run_id(2) == await core.start("slow", request_id="r1")
        assert link.events(2)[0].sequence == 1


@pytest.mark.parametrize("late", [Duration(), Duration(seconds=-5), Duration(nanos=-1)])
async def test_a_deadline_that_has_passed_is_refused(late: Duration) -> None:
    """Nothing is started."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow", caller=LinkCaller(deadline=late))
        error = (await link.ended(1)).end.error
        assert (error.code, error.details["reason"]) == ("DEADLINE_EXCEEDED", "DEADLINE_PASSED")
        assert not core.server.manager.registry


async def test_a_deadline_ends_the_run_that_was_started_and_only_the_follow_of_another() -> None:
    """As the deadlines of StreamRun and FollowRun do; far or malformed ones are none."""
    soon = LinkCaller(deadline=Duration(nanos=300_000_000))
    never = LinkCaller(deadline=Duration(seconds=2**63 - 1, nanos=2**31 - 1))
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow", caller=soon)
        await link.start(2, "slow", caller=never, request_id="r2")
        await link.until(lambda: bool(link.events(2)))
        await link.start(3, "slow", caller=soon, request_id="r3")
        await link.follow(4, link.run_id(2), caller=soon)
        for follow_id in (1, 3):
            last = await link.ended(follow_id)
            assert last.events[-1].error.code == "DEADLINE_EXCEEDED"
        last = await link.ended(4)
        assert last.end.error.code == "DEADLINE_EXCEEDED"
        before = len(link.events(2))
        await link.until(lambda: len(link.events(2)) > before)


async def test_a_deadline_ends_a_follow_that_is_parked() -> None:
    """Another run's at once: an end takes no credit. That of a run that was started comes with the credit."""
    soon = LinkCaller(deadline=Duration(nanos=200_000_000))
    one = FollowCredit(events=1, bytes=1)
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow", credit=one, caller=soon)
        await link.start(2, "slow")
        await link.until(lambda: bool(link.events(1)) and bool(link.events(2)))
        await link.follow(3, link.run_id(2), credit=one, caller=soon)
        assert (await link.ended(3)).end.error.code == "DEADLINE_EXCEEDED"
        async with asyncio.timeout(WITHIN_S):
            while (await core.run(link.run_id(1))).state != RUN_STATE_ENDED:
                await asyncio.sleep(0.01)
        assert [event.sequence for event in link.events(1)] == [1]
        await link.credit(1, 1_000, PLENTY_BYTES)
        assert (await link.ended(1)).events[-1].error.code == "DEADLINE_EXCEEDED"
        assert_dense(link.events(1))


@pytest.mark.parametrize("follow_id", [0, 2**63, 2**64 - 1])
async def test_ids_and_credits_may_be_as_large_as_their_fields(follow_id: int) -> None:
    """Credit adds up beyond what one message could give; none at all parks a follow."""
    most = FollowCredit(events=2**32 - 1, bytes=2**32 - 1)
    async with running_core() as core, linked(core) as link:
        await link.start(follow_id, "echo", credit=FollowCredit())
        await link.start(1, "echo")
        await link.ended(1)
        assert link.batches(follow_id) == []
        for _ in range(3):
            await link.credit(follow_id, most.events, most.bytes)
        await link.ended(follow_id)
        assert_dense(link.events(follow_id))


async def test_a_deadline_ends_a_run_that_an_earlier_request_has_started() -> None:
    """As that of a repeated StreamRun does."""
    soon = LinkCaller(deadline=Duration(nanos=100_000_000))
    async with running_core() as core, linked(core) as link:
        await link.start(1, "slow", request_id="r1")
        await link.start(2, "slow", request_id="r1", caller=soon)
        for follow_id in (1, 2):
            assert (await link.ended(follow_id)).events[-1].error.code == "DEADLINE_EXCEEDED"


async def test_a_deadline_also_ends_a_start_that_is_still_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that can't be loaded in time."""
    async with running_core() as core, linked(core) as link:
        monkeypatch.setattr(core.server.agents, "get", lambda _: asyncio.Event().wait())
        await link.start(1, "slow", caller=LinkCaller(deadline=Duration(nanos=50_000_000)))
        assert (await link.ended(1)).end.error.code == "DEADLINE_EXCEEDED"
    assert not core.server._links._parts.tasks


async def test_both_doors_tell_the_same_of_a_run() -> None:
    """Event for event."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "scripted")
        await link.ended(1)
        assert link.events(1) == events_of(await core.follow(link.run_id(1)))
