"""The last hop, as a page reports it."""

from __future__ import annotations

from tokenwire.latency.browser import BrowserLeg, Received, browser_leg

MS = 1_000_000
NOW = 1_763_841_600_000 * MS
STALL = 250 * MS


def leg(
    delays_ms: list[float], *, pace_ms: float = 20, ahead_ms: float = 0, report_ms: float = 1, first: int = 2
) -> BrowserLeg:
    """Return what comes of a report on events that took so long; our clock is ahead of the page's."""
    times = [NOW + round(i * pace_ms * MS) for i in range(len(delays_ms))]
    written = {first + i: (nano - MS // 10, nano) for i, nano in enumerate(times)}
    came, received = 0, []
    for nano, delay_ms in zip(times, delays_ms, strict=True):
        came = max(came, nano + round(delay_ms * MS))  # what comes by one connection keeps its order
        received.append(came - round(ahead_ms * MS))
    sent = came - round(ahead_ms * MS)
    return browser_leg(
        [Received(first, received)],
        written,
        sent_unix_nano=sent,
        came_unix_nano=came + round(report_ms * MS),
        stall_nano=STALL,
    )


def test_the_time_to_the_page_is_told_whatever_its_clock_says() -> None:
    """Within the error that is told beside it."""
    for ahead_ms in (-7_200_000, 0, 3):
        told = leg([2, 2, 2], ahead_ms=ahead_ms)
        assert told.offset is not None
        assert abs(told.offset.nano - ahead_ms * MS) <= told.offset.error_nano
        assert told.offset.error_nano < 2 * MS
        assert all(abs(nano - 2 * MS) <= told.offset.error_nano for nano in told.waits_nano)


def test_times_that_the_clocks_do_not_tell_are_not_told() -> None:
    """A report that was long on its way leaves the page's clock unknown: its times would all be too long."""
    soon, late = leg([2, 2, 2], report_ms=400), leg([2] * 50 + [900] + [2] * 50, report_ms=8_000)
    assert soon.offset is not None
    assert late.offset is not None
    assert soon.offset.error_nano <= STALL < late.offset.error_nano
    assert all(abs(nano - 2 * MS) <= STALL for nano in soon.waits_nano)
    assert (len(soon.waits_nano), len(late.waits_nano)) == (3, 0)
    assert [stall.sequence for stall in late.stalls] == [52], "a gap is measured by one clock"


def test_a_stall_on_the_way_to_the_page_is_its_first_token_alone() -> None:
    """What came behind it came at once."""
    told = leg([2] * 50 + [900] + [2] * 50)
    assert [(stall.hop, stall.sequence) for stall in told.stalls] == [("browser", 52)]
    assert told.stalls[0].behind > 30


def test_a_pause_before_the_socket_is_not_the_last_hops() -> None:
    """The edge has told of it already."""
    assert leg([2, 3, 2, 3], pace_ms=800).stalls == []


def test_events_that_the_edge_has_not_written_say_nothing() -> None:
    """Another edge may have: then only the stamps are kept."""
    told = browser_leg([Received(1, [NOW])], {}, sent_unix_nano=NOW, came_unix_nano=NOW, stall_nano=STALL)
    assert told == BrowserLeg(None, (), ())
