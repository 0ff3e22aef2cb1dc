"""The link: runs started and followed over one stream, as an edge does."""

from __future__ import annotations

import grpc

from tests.integration.test_core_stream import assert_dense
from tests.support.core import running_core
from tests.support.link_client import linked, opened
from tokenwire.v1.link_pb2 import FollowCredit, LinkHeartbeat, LinkRequest


async def test_a_link_answers_its_hello_and_streams_what_it_starts() -> None:
    """The welcome names the core, the first batch the run; the end comes with the terminal event."""
    async with running_core() as core, linked(core) as link:
        assert link.responses[0].hello.incarnation == core.server.manager.incarnation
        assert link.responses[0].clock.send_unix_nano
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


async def test_a_follow_goes_on_after_its_cursor() -> None:
    """What is in the log, the word that this was all, then what comes."""
    async with running_core() as core, linked(core) as link:
        run_id = await core.start("slow")
        await link.follow(1, run_id)
        await link.until(lambda: len(link.events(1)) >= 3)
        await link.follow(2, run_id, sequence=2)
        await link.until(lambda: "caught_up" in link.controls(2) and len(link.events(2)) >= 2)
        assert link.events(2)[0].sequence == 3
        assert link.controls(1) == link.controls(2) == ["caught_up"]


async def test_credit_is_kept_to_and_what_waits_comes_from_the_log() -> None:
    """Not an event more than was allowed, while another follow goes on."""
    async with running_core() as core, linked(core) as link:
        await link.start(1, "scripted", credit=FollowCredit(events=2, bytes=1_000_000))
        await link.start(2, "scripted")
        await link.ended(2)
        assert [event.sequence for event in link.events(1)] == [1, 2]
        await link.credit(1, 3)
        await link.until(lambda: len(link.events(1)) >= 5)
        await link.credit(1, 1_000)
        await link.ended(1)
        assert_dense(link.events(1))


async def test_what_is_no_hello_ends_a_link() -> None:
    """The first message says who is there."""
    async with running_core() as core, opened(core.stub.Link()) as link:
        await link.send(LinkRequest(heartbeat=LinkHeartbeat()))
        assert await link.over() is grpc.StatusCode.INVALID_ARGUMENT
