"""The stream of a run that has yet to be started."""

from __future__ import annotations

from edge.errors import UpstreamError
from edge.upstream.contract import Leave
from tests.support.fake_cores import RUN_ID, Way, away, delta, way

__all__ = ["way"]


async def test_a_start_asks_each_core_once(way: Way) -> None:
    """Where the first one may not have begun it unheard; then it is followed."""
    way.start()
    way.one.sources[0].owner.on_failed(away())
    await way.settled()
    assert way.other.sources[0].what == "start"
    way.other.sources[0].send(delta(1))
    assert way.sink.run_id == RUN_ID
    way.other.sources[0].owner.on_failed(away())
    await way.settled()
    assert way.one.sources[1].what == "follow after 1"


async def test_a_start_that_nobody_takes_fails(way: Way) -> None:
    """With what the last one said; the first is not asked again."""
    way.start()
    for member in (way.one, way.other):
        member.sources[-1].owner.on_failed(away("CORE_DRAINING"))
        await way.settled()
    assert [failure and failure.details for failure in way.sink.ends] == [{"reason": "CORE_DRAINING"}]
    assert [len(way.one.sources), len(way.other.sources)] == [1, 1]


async def test_a_refused_start_is_not_tried_elsewhere(way: Way) -> None:
    """It would be refused there, too."""
    way.start()
    way.one.sources[0].owner.on_failed(UpstreamError("INVALID_ARGUMENT", details={"reason": "NO"}))
    await way.settled()
    assert way.sink.ends
    assert way.other.sources == []


async def test_a_stream_waits_until_a_core_is_known(way: Way) -> None:
    """And may be closed meanwhile: nobody was asked."""
    way.cores.are_known = False
    way.start()
    closed = way.start()
    await way.settled()
    assert way.one.sources == []
    closed.close(Leave.LEFT)
    way.cores.known.set()
    await way.settled()
    assert [source.what for source in way.one.sources] == ["start"]
    assert way.left == []


async def test_a_source_that_its_core_has_not_is_opened_otherwise(way: Way) -> None:
    """At the same core, and without a failure."""
    way.start()
    way.one.sources[0].owner.on_refused()
    assert [source.what for source in way.one.sources] == ["start", "start"]
    assert way.one.streams == 1
    assert way.one.told == []
