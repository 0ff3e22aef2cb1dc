"""A thousand traced streams at once: no row is lost, or what is lost is counted."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Final

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.crowd import Crowd
from tests.support.otlp_sink import OtlpSink, Received
from tests.support.processes import Processes, Running, wait_until
from tests.support.rotel import rotel_and_sink
from tests.support.token_rows import attributes_of_root, rows_of

STREAMS: Final = 1_000
TOKENS: Final = 20
EDGE: Final = "tokenwire-edge"
EDGE_SPANS: Final = 3
"""Of each stream: its root, its call, and one segment."""

UNLIMITED: Final[Mapping[str, str]] = {
    "OTEL_METRICS_EXPORTER": "none",
    "TOKENWIRE_AGENT": "pace",
    "TOKENWIRE_STALL_MS": "60000",  # a busy machine is no matter of this test
    "TOKENWIRE_LOG_LEVEL": "warning",
    "TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL": "0",
    "TOKENWIRE_STARTS_PER_MINUTE": "0",
    "TOKENWIRE_MAX_PRINCIPAL_RUNS": "0",
    "TOKENWIRE_MAX_PRINCIPAL_STARTS_PER_MINUTE": "0",
    "TOKENWIRE_MAX_PRINCIPAL_FOLLOWS": "0",
    "TOKENWIRE_MAX_FOLLOWS": "0",
}

pytestmark = [pytest.mark.needs("rotel"), pytest.mark.timeout(240)]


def running(processes: Processes, endpoint: str, **more: str) -> tuple[str, Running]:
    """Run a core and an edge that export their spans; return the edge."""
    settings = {**UNLIMITED, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more}
    core, _ = processes.core(agents=(), settings=settings)
    return processes.edge(core, settings=settings)


def roots_in(sink: OtlpSink) -> list[Received]:
    """Return the roots of streams that have come."""
    return [each for each in sink.named("POST /api/chat") if each.span.kind == Span.SPAN_KIND_SERVER]


def lost_at(url: str) -> int:
    """Return how many spans an edge says that it has lost."""
    lines = httpx.get(f"{url}/metrics", timeout=30, trust_env=False).text.splitlines()
    return sum(
        round(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("tokenwire_telemetry_dropped_total{")
    )


async def test_a_thousand_streams_at_once_lose_no_row(processes: Processes) -> None:
    """With the settings as they are: each root says so, and each row of each stream has come."""
    with rotel_and_sink(processes) as (sink, endpoint):
        url, _ = running(processes, endpoint)
        # They have all begun before the first token: that is not what this test is about.
        crowd = Crowd(url, json.dumps({"tokens": TOKENS, "rate": 1, "size": 4, "delay_s": 15}))
        await crowd.stream(STREAMS)
        assert (crowd.whole, crowd.most_open) == (STREAMS, STREAMS)
        wait_until(lambda: len(roots_in(sink)) >= STREAMS, "all roots have come")
        told = [attributes_of_root(root) for root in roots_in(sink)]
        assert lost_at(url) == 0
    assert Counter((each["dropped"], each["tokens"], each["outcome"]) for each in told) == {
        (0, TOKENS, "completed"): STREAMS
    }
    by_trace: dict[str, list[Received]] = {}
    for each in sink.named("tokens"):
        by_trace.setdefault(each.span.trace_id.hex(), []).append(each)
    assert by_trace.keys() == set(crowd.trace_ids)
    for spans in by_trace.values():
        assert sorted(rows_of(spans)) == list(range(1, TOKENS + 3))


async def test_what_a_queue_that_is_too_small_loses_is_counted(processes: Processes) -> None:
    """While the collector stands still, the edge loses spans: what came and what is counted are all."""
    streams = 200
    with rotel_and_sink(processes) as (sink, endpoint):
        url, edge = running(processes, endpoint, OTEL_BSP_MAX_QUEUE_SIZE="16")
        (rotel,) = (process for process in processes.running if process.name.endswith("rotel"))
        crowd = Crowd(url, json.dumps({"tokens": TOKENS, "rate": 40, "size": 4}))
        rotel.send(signal.SIGSTOP)
        try:
            await crowd.stream(streams)
            wait_until(lambda: lost_at(url) > 0, "the edge says that it has lost spans")
        finally:
            rotel.send(signal.SIGCONT)
        assert crowd.whole == streams
        lost = lost_at(url)
        edge.stop()

        def arrived() -> int:
            return sum(each.service == EDGE for each in tuple(sink.spans))

        wait_until(lambda: arrived() + lost >= streams * EDGE_SPANS, "all that was not lost has come")
        # One that is queued while the exporter takes others away may be counted, and come all the same.
        assert arrived() + lost <= 1.01 * streams * EDGE_SPANS
        assert lost > streams
