"""What cores learn of a client that has left its stream, wherever the stream is."""

from __future__ import annotations

import pytest

from edge.errors import UpstreamError
from edge.upstream.contract import Leave
from tests.support.fake_cores import RUN_ID, Way, away, delta, way

__all__ = ["way"]


async def test_leaving_is_told_by_the_source_or_beside_it(way: Way) -> None:
    """Once; the sink learns of nothing more."""
    first = way.follow()
    way.one.sources[0].send(delta(1))
    first.close(Leave.LEFT)
    assert way.one.sources[0].told == ["leave"]
    way.one.can_leave = False
    second = way.follow()
    second.close(Leave.LEFT)
    second.close(Leave.LEFT)
    await way.settled()
    assert way.one.sources[1].told == ["close left"]
    assert way.left == [RUN_ID]
    assert way.sink.ends == []
    assert way.one.streams == 0


async def test_leaving_while_the_stream_recovers_is_told(way: Way) -> None:
    """And ends the recovery."""
    call = way.follow()
    way.one.sources[0].send(delta(1))
    way.cores.are_known = False
    way.one.sources[0].owner.on_failed(away())
    await way.settled()
    assert call.is_silent
    assert len(way.cores.tasks) == 1
    call.close(Leave.LEFT)
    await way.settled()
    assert way.left == [RUN_ID]
    assert way.other.sources == []
    assert len(way.cores.tasks) == 0


async def test_leaving_before_the_run_has_an_id_waits_for_it(way: Way) -> None:
    """The start goes on, also at another core; the client's sink is told nothing."""
    way.one.can_leave = way.other.can_leave = False
    call = way.start()
    call.close(Leave.LEFT)
    call.close(Leave.LEFT)
    way.one.sources[0].owner.on_failed(away())
    await way.settled()
    way.other.sources[0].send(delta(1))
    await way.settled()
    assert way.left == [RUN_ID]
    assert way.other.sources[0].told == ["close left"]
    assert way.sink.run_id == ""
    assert way.sink.ends == []


async def test_leaving_a_start_that_goes_on_over_a_link_is_told_once(way: Way) -> None:
    """By the source: told beside it as well, it would count as another client that has left."""
    way.one.can_leave = False
    call = way.start()
    call.close(Leave.LEFT)
    way.one.sources[0].owner.on_failed(away())
    await way.settled()
    way.other.sources[0].send(delta(1))
    await way.settled()
    assert way.other.sources[0].told == ["leave"]
    assert way.left == []
    assert (way.one.streams, way.other.streams) == (0, 0)


async def test_leaving_a_start_that_fails_tells_nobody(way: Way) -> None:
    """There is no run."""
    way.one.can_leave = False
    way.start().close(Leave.LEFT)
    way.one.sources[0].owner.on_failed(UpstreamError("INVALID_ARGUMENT", details={"reason": "NO"}))
    await way.settled()
    assert way.left == []
    assert len(way.departures.tasks) == 0


@pytest.mark.parametrize("word", ["control", "flush"])
async def test_a_sink_may_close_its_call_when_it_is_told_that_the_log_is_away(way: Way, word: str) -> None:
    """No source is opened behind it."""
    call = way.follow()
    setattr(way.sink, word, lambda *_: call.close(Leave.LEFT))
    way.one.sources[0].owner.on_failed(away("LOG_AWAY"))
    await way.settled()
    assert way.one.streams + way.other.streams == 0
    assert way.other.sources == []
    assert len(way.cores.tasks) == 0
    assert way.left == [RUN_ID]
