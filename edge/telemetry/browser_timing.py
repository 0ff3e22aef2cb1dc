"""The sixth stage: when the page received what the edge had written."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

from edge.telemetry.clocks import clock_attributes
from tokenwire.latency.browser import BrowserLeg, Received, browser_leg
from tokenwire.latency.segments import MAX_ROWS, Segment, deltas
from tokenwire.logs import log_fields
from tokenwire.telemetry import attributes, make_child
from tokenwire.telemetry.metrics.instruments import STAGE_DURATION
from tokenwire.telemetry.token_recorder import tell_stall
from tokenwire.telemetry.token_spans import TOKENS, stall_attributes, stall_name
from tokenwire.telemetry.traceparent import parse_traceparent

NAME_BYTES: Final = 9
"""The random bytes of a stream's name."""

MAX_STREAMS: Final = 1_000
"""Of how many streams it is remembered when their events were written: those that ended last."""

MAX_EVENTS: Final = 12_000
"""How many events of one stream are remembered, and may be reported: at 20 bytes of JSON each they fit into
the largest body that is taken (TOKENWIRE_MAX_BODY_BYTES, 256 KiB by default)."""

MAX_ALL_EVENTS: Final = 1_000_000
"""How many events of all streams are remembered: 16 bytes each. The oldest streams are forgotten first."""

MAX_REPORTED: Final = 16_384
"""How many reports are remembered, so that none counts twice."""

END_TIMEOUT_S: Final = 2.0
"""How long a report waits for the end of the stream that it is on."""

HOP: Final = "browser"

logger = logging.getLogger(__name__)


class WriteTimes:
    """When the events of one stream were written, for a page that will report when they came.

    Args:
        wall_offset_nano: What has to be added to a time of the monotonic clock to get the Unix time.
    """

    def __init__(self, wall_offset_nano: int) -> None:
        self._wall_offset_nano = wall_offset_nano
        self._segments: list[Segment] = []
        self.has_room: Callable[[int], bool] = lambda _: False
        """Told how many more events are to be remembered; returns whether there is room for them."""
        self.rows = 0
        """How many events are remembered."""
        self.complete = asyncio.Event()
        """Set when the stream has ended."""

    def segment(self, segment: Segment) -> None:
        """Take in a segment of the stream."""
        if self.rows < MAX_EVENTS and self.has_room(segment.rows):
            self.rows += segment.rows
            self._segments.append(segment._replace(columns=segment.columns[-2:]).packed())

    def unix_nano(self) -> Mapping[int, tuple[int, int]]:
        """Return when the edge had each event and when the socket took it, by its sequence."""
        offset = self._wall_offset_nano
        return {
            segment.first + row: (recv + offset, write + offset)
            for segment in self._segments
            for row, (recv, write) in enumerate(zip(*segment.columns, strict=True))
        }


class PageReport(NamedTuple):
    """When a page received the events of a stream, as it says afterwards."""

    stream: str
    """Names the stream."""
    traceparent: str
    """Of its span; empty where it is not traced."""
    received: Sequence[Received]
    sent_unix_nano: int
    """When the page sent this, by its clock."""
    came_unix_nano: int
    """When it came, by ours."""
    run_id: str


class BrowserTiming:
    """Takes pages' reports.

    Args:
        stall_nano: The longest gap that is no stall.
    """

    def __init__(self, stall_nano: int) -> None:
        self._stall_nano = stall_nano
        self._streams: OrderedDict[str, WriteTimes] = OrderedDict()
        self._reported: OrderedDict[str, None] = OrderedDict()
        self._rows = 0

    def new_name(self) -> str:
        """Return the name of a new stream."""
        return secrets.token_urlsafe(NAME_BYTES)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Return a context in which reports are taken."""
        yield

    def remember(self, stream: str, times: WriteTimes) -> None:
        """Keep when a stream's events are written, for a while.

        Args:
            stream: Names the stream.
            times: Filled as the stream goes on.
        """
        times.has_room = lambda rows: self._take_room(times, rows)
        self._streams[stream] = times
        if len(self._streams) > MAX_STREAMS:
            self._forget(next(iter(self._streams)))

    def is_new(self, stream: str) -> bool:
        """Return whether a stream was not reported here before; from now on it was."""
        if stream in self._reported:
            return False
        self._reported[stream] = None
        if len(self._reported) > MAX_REPORTED:
            self._reported.popitem(last=False)
        return True

    async def take(self, report: PageReport) -> bool:
        """Count, log and trace a report; return whether it is the first on its stream. No other counts."""
        if not self.is_new(report.stream):
            return False
        await self.report(report)
        return True

    def _take_room(self, times: WriteTimes, rows: int) -> bool:
        """Return whether more events of a stream are remembered: older streams may be forgotten for it."""
        while self._rows + rows > MAX_ALL_EVENTS:
            if self._forget(next(iter(self._streams))) is times:
                return False
        self._rows += rows
        return True

    def _forget(self, stream: str) -> WriteTimes | None:
        """Return what was remembered of a stream; it is not any more."""
        times = self._streams.pop(stream, None)
        if times is not None:
            times.has_room = lambda _: False
            self._rows -= times.rows
        return times

    async def report(self, report: PageReport) -> None:
        """Count, log and trace when a page received events."""
        times = self._streams.get(report.stream)
        written: Mapping[int, tuple[int, int]] = {}
        if times is not None:
            # A page reports when it has read the last event: the stream itself ends a moment later.
            with suppress(TimeoutError):
                await asyncio.wait_for(times.complete.wait(), END_TIMEOUT_S)
            written = times.unix_nano()
            self._forget(report.stream)
        received, run_id = report.received, report.run_id
        leg = browser_leg(
            received,
            written,
            sent_unix_nano=report.sent_unix_nano,
            came_unix_nano=report.came_unix_nano,
            stall_nano=self._stall_nano,
        )
        parent = parse_traceparent(report.traceparent)
        STAGE_DURATION.observe_many_nano(leg.waits_nano, (HOP,))
        for part in received:
            _write_segments(part, parent, clock_attributes(leg.offset))
        for stall in leg.stalls:
            tell_stall(stall, run_id, parent, unix_nano=stall.end_nano, cause="")
            if parent.trace_flags.sampled:
                told = {**stall_attributes(stall, ""), **clock_attributes(leg.offset)}
                make_child(parent, stall_name(stall), stall.begin_nano, stall.end_nano, told)
        _log(leg, run_id, parent)


def _write_segments(part: Received, parent: SpanContext, clock: Mapping[str, AttributeValue]) -> None:
    """Write the spans that hold when consecutive events came, by the page's clock."""
    if not parent.trace_flags.sampled:
        return
    for begin in range(0, len(part.unix_nano), MAX_ROWS):
        stamps = part.unix_nano[begin : begin + MAX_ROWS]
        told: dict[str, AttributeValue] = {
            attributes.TOKENS_FIRST: part.first + begin,
            attributes.TOKENS_COUNT: len(stamps),
            attributes.TOKENS_T0: stamps[0],
            attributes.TOKENS_STAGE.format(stage=HOP): deltas(stamps, stamps[0]),
            **clock,
        }
        make_child(parent, TOKENS, stamps[0], max(stamps), told)


def _log(leg: BrowserLeg, run_id: str, parent: SpanContext) -> None:
    if leg.offset is not None and not leg.waits_nano:
        error_ms = leg.offset.error_nano // 1_000_000
        text = "a page has reported run %s, but its clock is known to %d ms only: its times are not counted"
        logger.debug(text, run_id, error_ms, extra=log_fields(run_id=run_id, span=parent))
        return
    longest_ms = max(leg.waits_nano, default=0) // 1_000_000
    text = "a page has reported when it received run %s: %d events, at most %d ms after they were written"
    logger.debug(text, run_id, len(leg.waits_nano), longest_ms, extra=log_fields(run_id=run_id, span=parent))
