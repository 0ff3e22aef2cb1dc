"""When clients are to come back."""

from __future__ import annotations

from typing import Any

import pytest

from edge.http.drain import Drain
from edge.http.stream_policy import STREAM_HEADERS, StreamPolicy, StreamSettings, come_back_later

POLICY = StreamPolicy(retry_ms=1000, reconnects_per_s=500)


@pytest.mark.parametrize(
    ("streams", "spread_ms"), [(0, 1000), (1, 1000), (500, 1000), (501, 1002), (3000, 6000), (10_000, 20_000)]
)
def test_the_time_to_come_back_is_spread_by_a_second_for_each_500_streams(
    streams: int, spread_ms: float
) -> None:
    """With few of them as it is set, half more or less."""
    assert POLICY.spread_ms(streams) == spread_ms
    told = [POLICY.jittered_retry_ms(streams) for _ in range(2000)]
    assert 500 <= min(told) < 500 + 0.05 * spread_ms
    assert 500 + 0.95 * spread_ms < max(told) <= 500 + spread_ms


def test_settings_passed_whole_are_the_policy() -> None:
    """With nothing set, it has the defaults that it has alone; workers share the clients that come back."""
    assert StreamPolicy.of(StreamSettings()) == StreamPolicy()
    settings = StreamSettings(commit_ms=20, heartbeat_s=3, reconnects_per_s=100)
    policy = StreamPolicy(commit_s=0.02, heartbeat_s=3, reconnects_per_s=25)
    assert StreamPolicy.of(settings, edges=4) == policy


def test_an_edge_that_goes_down_counts_whom_it_has_told_to_come_back() -> None:
    """Also when some of them have gone: the last one is told the same as the first."""
    drain = Drain()
    listeners = [lambda number=number: number for number in range(3)]
    for listener in listeners:
        drain.add(listener)  # type: ignore[arg-type]
    assert drain.streams == 3
    drain.start()
    for listener in listeners:
        drain.remove(listener)  # type: ignore[arg-type]
    assert drain.streams == 3


async def test_a_stream_that_only_says_when_to_come_back_has_the_headers_of_every_stream() -> None:
    """Also `nosniff`, which the edge's other answers have from Litestar; each once."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await come_back_later(1000)({"type": "http", "method": "GET"}, None, send)  # type: ignore[arg-type]
    headers = [header for header in sent[0]["headers"] if header[0] != b"content-length"]
    assert headers == [*STREAM_HEADERS]
