"""The stream of one run: which source follows which."""

from __future__ import annotations

import asyncio

import pytest

from edge.errors import EdgeError, UpstreamError
from edge.upstream import run_call
from edge.upstream.contract import Leave
from edge.upstream.source import ended_early
from tests.support.fake_cores import Way, away, delta, done, way
from tests.support.upstream import WITHIN_S, Reader
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.stream_pb2 import Control, Draining

__all__ = ["way"]


async def test_a_run_is_read_without_a_task(way: Way) -> None:
    """To its end, which its source ends in good order; then nothing is told and nothing is left."""
    call = way.follow()
    (source,) = way.one.sources
    source.send(delta(1))
    assert len(way.cores.tasks) == 0
    assert not call.is_silent
    call.resume()
    source.send(done(2))
    assert way.sink.sequences == [1, 2]
    assert way.sink.ends == [None]
    assert source.told == ["resume", "finish"]
    assert way.one.streams == 0
    assert way.one.watchers == set()
    call.close(Leave.LEFT)
    assert way.left == []
    assert call.is_silent


async def test_a_broken_source_is_followed_by_one_at_another_core(way: Way) -> None:
    """After the last event; the first one is suspected, and counts one interrupted stream."""
    way.follow()
    way.one.sources[0].send(delta(1), delta(2))
    way.one.sources[0].owner.on_failed(away())
    await way.settled()
    assert [source.what for source in way.other.sources] == ["follow after 2"]
    assert way.one.told == ["interrupted", "suspect"]
    assert (way.one.streams, way.other.streams) == (0, 1)
    way.other.sources[0].send(delta(2), delta(3))
    assert way.sink.sequences == [1, 2, 3]


async def test_what_is_final_is_told(way: Way) -> None:
    """With the failure itself."""
    way.follow()
    way.one.sources[0].send(delta(1))
    way.one.sources[0].owner.on_failed(UpstreamError("PERMISSION_DENIED", details={"reason": "NO"}))
    failure = await way.sink.read_to_end()
    assert failure
    assert failure.code == "PERMISSION_DENIED"
    assert way.one.told == []


async def test_a_run_that_no_core_serves_is_given_up(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time that the policy allows; the core counts a stream that failed."""
    monkeypatch.setattr("edge.upstream.retry_policy.WITHOUT_CORE_S", 0.05)
    monkeypatch.setattr("edge.upstream.retry_policy.FIRST_WAIT_S", 0.01)
    way.cores.members = (way.one,)
    way.follow()
    async with asyncio.timeout(WITHIN_S):
        while not way.sink.ends:
            if way.one.streams:
                way.one.sources[-1].owner.on_failed(away())
            await asyncio.sleep(0)
    assert way.one.told[-1] == "failed"
    assert way.one.told.count("interrupted") == 1
    assert len(way.one.sources) > 2


async def test_a_run_of_which_nothing_new_comes_is_given_up(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though each source brings what is known and ends in good order: else it would go on for ever."""
    monkeypatch.setattr("edge.upstream.retry_policy.WITHOUT_CORE_S", 0.1)
    way.cores.members = (way.one,)
    way.follow()
    way.one.sources[0].send(delta(1), delta(2))
    async with asyncio.timeout(WITHIN_S):
        while not way.sink.ends:
            if way.one.streams:
                way.one.sources[-1].send(delta(1), delta(2))
                way.one.sources[-1].owner.on_failed(ended_early())
            await asyncio.sleep(0)
    assert way.sink.sequences == [1, 2]
    assert way.sink.ends[0]
    assert way.sink.ends[0].details == {"reason": "STREAM_ENDED_EARLY"}
    assert 2 < len(way.one.sources) < 10, "it waits in between"


async def test_a_source_that_can_not_be_opened_again_ends_its_stream(
    way: Way, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a fault of the edge's own, which is logged: else its client would wait for ever."""
    way.follow()
    way.one.sources[0].send(delta(1))

    def fails(*_: object) -> None:
        raise RuntimeError("it is broken")

    monkeypatch.setattr(way.other, "follow_run", fails)
    way.one.sources[0].owner.on_failed(away())
    failure = await way.sink.read_to_end()
    assert failure
    assert failure.code == "INTERNAL"
    assert "it is broken" in caplog.text
    assert way.other.streams == 0


async def test_a_run_that_is_not_shared_is_looked_for_at_each_core(way: Way) -> None:
    """One that has it serves it, and then nobody else can; what none has is lost."""
    way.one.status.log_scope = way.other.status.log_scope = pb.LOG_SCOPE_PROCESS
    way.follow()
    missing = UpstreamError("DATA_LOSS", details={"reason": "RUN_LOG_LOST"})
    way.one.sources[0].owner.on_failed(missing)
    await way.settled()
    way.other.sources[0].send(delta(1))
    way.other.sources[0].owner.on_failed(away())
    await way.settled()
    assert [len(way.one.sources), len(way.other.sources)] == [1, 2]
    lost = Reader()
    way.follow(lost)
    for member in (way.one, way.other):
        member.sources[-1].owner.on_failed(missing)
        await way.settled()
    assert lost.ends == [missing]


async def test_a_run_whose_core_is_proven_gone_is_lost(way: Way) -> None:
    """Its memory was the run's log."""
    way.one.status.log_scope = pb.LOG_SCOPE_PROCESS
    way.one.gone = True
    way.follow()
    way.one.sources[0].send(delta(1))
    way.one.sources[0].owner.on_failed(away())
    failure = await way.sink.read_to_end()
    assert failure
    assert failure.details == {"reason": "CORE_LOST"}


async def test_a_log_that_is_away_is_told_once(way: Way) -> None:
    """However often it is tried meanwhile; again, where something came in between."""
    way.follow()
    members = [way.one, way.other] * 2
    for member in members:
        member.sources[-1].owner.on_failed(away("LOG_AWAY"))
        async with asyncio.timeout(WITHIN_S):
            while not way.one.streams + way.other.streams:
                await asyncio.sleep(0.001)
    assert way.sink.controls == ["degraded"]
    way.one.sources[-1].send(delta(1))
    way.one.sources[-1].owner.on_failed(away("LOG_AWAY"))
    await way.settled()
    assert way.sink.controls == ["degraded"] * 2


async def test_a_core_that_shuts_down_is_left_for_one_that_is_ready(way: Way) -> None:
    """Without a task, and not for one that shuts down itself."""
    way.follow()
    draining = Control(draining=Draining())
    way.one.sources[0].send(delta(1))
    way.one.sources[0].send(control=draining)
    assert way.one.sources[0].told == ["close drained"]
    assert [source.what for source in way.other.sources] == ["follow after 1"]
    way.other.sources[0].send(control=draining)
    assert way.other.sources[0].told == []
    assert way.other.streams == 1
    assert way.sink.controls == []


async def test_a_core_that_hangs_is_left_when_another_one_can_go_on(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before it has been silent for as long as a lease."""
    monkeypatch.setattr(run_call, "FOLLOW_SILENCE_S", 5.0)
    way.follow()
    (on_silence,) = way.one.watchers
    way.one.silent_s = 4.9
    on_silence()
    assert way.one.sources[0].told == []
    way.one.silent_s = 5.0
    on_silence()
    await way.settled()
    assert way.one.sources[0].told == ["close broken"]
    assert way.other.streams == 1


async def test_a_sink_that_fails_is_told_that_its_stream_has_ended(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it can't even bear that."""

    class Fails(Reader):
        def end(self, failure: EdgeError | None) -> None:
            super().end(failure)
            raise RuntimeError("no end")

    sink = Fails()
    way.follow(sink)
    way.one.sources[0].send(delta(1))
    way.one.sources[0].owner.on_crashed(RuntimeError("no event"))
    assert [failure and failure.code for failure in sink.ends] == ["INTERNAL"]
    assert way.one.sources[0].told == ["close broken"]
    assert "no event" in caplog.text
    assert "no end" in caplog.text
