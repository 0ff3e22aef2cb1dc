"""What a page reports of the last hop: into the stream's trace, once, and only by its reader."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from tests.support.spans import Spans, spans
from tests.support.stack import Stack, running_stack
from tokenwire.telemetry.metrics.instruments import STAGE_DURATION

__all__ = ["spans"]


class Page:
    """A page that has read a stream, and noted when each event came."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.run_id = headers["run-id"]
        self.token = headers["timing-token"]
        self.events: list[dict[str, Any]] = []
        self.received_ms: list[float] = []

    def report(self, **changes: Any) -> dict[str, Any]:
        """Return the body of its report."""
        part = {"first": 1, "receivedMs": self.received_ms}
        return {"token": self.token, "sentMs": time.time() * 1000, "parts": [part]} | changes

    async def send(self, stack: Stack, **changes: Any) -> httpx.Response:
        """Send it."""
        return await stack.client.post(f"/api/runs/{self.run_id}/timing", json=self.report(**changes))


async def read(stack: Stack, agent: str = "scripted") -> Page:
    """Return a page that has read a whole answer."""
    async with stack.chat(agent=agent, params={"timing": "1"}) as response:
        page = Page(response.headers)
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                page.events.append(json.loads(line.removeprefix("data: ")))
                page.received_ms.append(time.time() * 1000)
    return page


def parts(spans: Spans, stage: str) -> list[ReadableSpan]:
    """Return the segments that have a stage."""
    return [
        span for span in spans.named("tokens") if f"tokenwire.tokens.{stage}_us" in (span.attributes or {})
    ]


@pytest.mark.usefixtures("transport")
async def test_the_stamps_of_a_page_become_a_part_of_its_streams_trace(spans: Spans) -> None:
    """The very times that it told, of each event, below the stream's span."""
    async with running_stack() as stack:
        page = await read(stack)
        (request,) = await spans.wait_for("POST /api/chat")
        assert (await page.send(stack)).status_code == 204
    (segment,) = parts(spans, "browser")
    assert request.context is not None
    assert segment.parent is not None
    assert segment.parent.span_id == request.context.span_id
    told = segment.attributes
    assert told is not None
    assert (told["tokenwire.tokens.first"], told["tokenwire.tokens.count"]) == (1, len(page.events))
    began, text = told["tokenwire.tokens.t0_unix_ns"], told["tokenwire.tokens.browser_us"]
    assert isinstance(began, int)
    read_back = [began / 1e6 + micros / 1e3 for micros in accumulate(map(int, str(text).split(",")))]
    assert read_back == pytest.approx(page.received_ms, abs=0.001)
    assert told["tokenwire.clock.method"] == "bounds"


async def test_a_report_counts_each_event_in_the_metric_of_its_hop(spans: Spans) -> None:
    """As long as it took from the socket to the page."""
    del spans
    before = sum(sum(p.counts) for key, p in STAGE_DURATION.points().items() if key == ("browser",))
    async with running_stack() as stack:
        page = await read(stack)
        await page.send(stack)
    after = sum(sum(p.counts) for key, p in STAGE_DURATION.points().items() if key == ("browser",))
    assert after - before == len(page.events)


@pytest.mark.usefixtures("transport")
async def test_frames_tell_their_stamps_where_it_is_asked_for() -> None:
    """In the order of the way, to the microsecond; and not otherwise."""
    async with running_stack() as stack:
        page = await read(stack)
        async with stack.chat() as response:
            plain = (await response.aread()).decode()
        assert "timing-token" not in response.headers
    assert '"timing"' not in plain
    for event in page.events:
        stamps = [event["timing"][stage] for stage in ("model", "logged", "send", "recv")]
        assert stamps == sorted(stamps)
        assert stamps[0] == pytest.approx(event["timestamp"], abs=1)


async def test_a_stream_is_reported_once() -> None:
    """A page that is reloaded, or a hand that repeats the request, counts nothing twice."""
    async with running_stack() as stack:
        page = await read(stack)
        assert (await page.send(stack)).status_code == 204
        again = await page.send(stack)
    assert again.status_code == 409
    assert again.json()["code"] == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": "x"}, "token"),
        ({"parts": []}, "parts"),
        ({"parts": [{"first": 0, "receivedMs": [1]}]}, "parts"),
        ({"parts": [{"first": 1, "receivedMs": []}]}, "parts"),
        ({"parts": [{"first": 1, "receivedMs": [-1]}]}, "parts"),
        ({"parts": [{"first": 1, "receivedMs": [1] * 9_000}] * 2}, "parts"),
        ({"sentMs": "now"}, "sentMs"),
    ],
)
async def test_a_report_that_can_not_be_is_refused_and_may_be_sent_again(
    changes: dict[str, Any], field: str
) -> None:
    """It says which field is wrong."""
    async with running_stack() as stack:
        page = await read(stack)
        refused = await page.send(stack, **changes)
        assert refused.status_code == 400
        assert refused.json()["details"]["field"].startswith(field)
        assert (await page.send(stack)).status_code == 204


async def test_the_token_of_another_edges_stream_is_taken_and_that_of_another_kind_is_not() -> None:
    """Edges share the key, and know of a foreign stream what its page says; a ticket is no such token."""
    key = "k" * 32
    async with running_stack(ticket_key=key) as first, running_stack(ticket_key=key) as second:
        page, other = await read(first), await read(second)
        other_token = other.token
        ticket = (await second.client.post(f"/api/runs/{other.run_id}/ticket")).json()["ticket"]
        assert (await other.send(second, token=ticket)).status_code == 400
        assert (await other.send(second, token=page.token)).status_code == 204
        assert (await other.send(second, token=other_token)).status_code == 204
