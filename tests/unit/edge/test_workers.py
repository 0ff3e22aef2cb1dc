"""What the processes of one edge have to do with each other."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from edge.settings import EdgeSettings
from edge.telemetry.browser_timing import PageReport, WriteTimes
from edge.workers import reports
from edge.workers.backoff import LONGEST_S, STEADY_S, RestartPauses
from edge.workers.plan import Place, Plan, report_socket
from edge.workers.reports import MAX_BYTES, SharedTiming
from edge.workers.supervisor import StartError, metrics_ports
from tests.support.processes import free_port
from tokenwire.latency.browser import Received

PLAN = Plan(2, "127.0.0.1", 8000, "core:1", False, True, 30.0, 10.0, "127.0.0.1", 0, "info", "text")


def test_a_worker_that_dies_again_and_again_waits_longer_each_time() -> None:
    """At once after the first death, half a minute at most, and at once again after a steady life."""
    pauses = RestartPauses()
    waited = [pauses.next_s(1.0) for _ in range(12)]
    assert waited[:5] == [0, 0.5, 1, 2, 4]
    assert waited == sorted(waited)
    assert waited[-1] == LONGEST_S
    assert pauses.next_s(STEADY_S) == 0
    assert pauses.next_s(1.0) == 0.5


def test_each_worker_has_a_metrics_port_of_its_own() -> None:
    """That which is set and those that follow; any free one each, where none is."""
    assert metrics_ports(PLAN) == [0, 0]
    first = free_port(3)
    assert metrics_ports(msgspec.structs.replace(PLAN, metrics_port=first)) == [first, first + 1]
    with pytest.raises(StartError, match="2 workers would need ports above 65535"):
        metrics_ports(msgspec.structs.replace(PLAN, metrics_port=65_535))
    with (
        socket.create_server(("127.0.0.1", first + 1)),
        pytest.raises(StartError, match=rf"127\.0\.0\.1:{first + 1}"),
    ):
        metrics_ports(msgspec.structs.replace(PLAN, metrics_port=first))


def test_the_clients_of_all_workers_come_back_at_the_rate_that_is_set() -> None:
    """Each worker knows its own streams alone: half of them are spread over the time of all."""
    alone, one_of_two = (EdgeSettings(workers=workers).stream_policy() for workers in (1, 2))
    assert one_of_two.spread_ms(2_000) == alone.spread_ms(4_000)


@asynccontextmanager
async def workers(folder: Path, count: int, *, missing: int = 0) -> AsyncIterator[list[SharedTiming]]:
    """Return what takes the reports of so many workers; one of them may have died."""
    async with AsyncExitStack() as running:
        made = []
        for number in range(1, count + 1):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(report_socket(str(folder), number))
            if number == missing:
                listener.close()
            else:
                listener.listen()
            place = Place(number, count, -1, -1, listener.detach(), str(folder), os.getppid())
            timing = SharedTiming(250_000_000, place)
            if number != missing:
                await running.enter_async_context(timing.running())
            made.append(timing)
        yield made


def report_on(stream: str, events: int = 3) -> PageReport:
    """Return a page's report."""
    now = 1_763_841_600_000_000_000
    return PageReport(stream, "", [Received(1, [now] * events)], now, now, "r")


async def test_a_report_counts_where_its_stream_was_whoever_got_it(tmp_path: Path) -> None:
    """Once: a second one is known, wherever it comes; and what was remembered of the stream is used up."""
    async with workers(tmp_path, 3) as (one, two, three):
        names = {timing.new_name() for timing in (one, two, three) for _ in range(3)}
        assert sorted(name.partition(".")[0] for name in names) == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
        name, times = two.new_name(), WriteTimes(0)
        two.remember(name, times)
        times.complete.set()
        assert await one.take(report_on(name))
        assert [await timing.take(report_on(name)) for timing in (three, two, one)] == [False] * 3
        assert not two.is_new(name)
        assert one.is_new(name)


async def test_a_report_as_large_as_may_be_is_handed_on(tmp_path: Path) -> None:
    """More than a pipe or a socket's buffer holds."""
    async with workers(tmp_path, 2) as (one, two):
        report = report_on(two.new_name(), events=12_000)
        assert 200_000 < len(msgspec.json.encode(report)) < MAX_BYTES
        assert await one.take(report)
        assert not two.is_new(report.stream)


async def test_no_more_of_a_report_is_read_than_it_may_have(tmp_path: Path) -> None:
    """Who sends more, and no end, is cut off without an answer."""
    async with workers(tmp_path, 1):
        reader, writer = await asyncio.open_unix_connection(report_socket(str(tmp_path), 1))
        with suppress(ConnectionError):
            async with asyncio.timeout(5):
                writer.write(bytes(MAX_BYTES + 1))
                assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("sent", "whole", "said"),
    [
        (b"", False, "has not handed on"),
        (b"[" * 100_000, True, "can't be read"),
        (b"{}", True, "can't be read"),
    ],
    ids=["silent", "deep", "another type"],
)
async def test_what_is_no_report_is_told_and_not_waited_for(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    whole: bool,
    said: str,
) -> None:
    """A worker that hangs, or of another version: it is cut off without an answer, and the edge can end."""
    monkeypatch.setattr(reports, "READ_S", 0.2)
    async with workers(tmp_path, 1):
        reader, writer = await asyncio.open_unix_connection(report_socket(str(tmp_path), 1))
        writer.write(sent)
        if whole:
            writer.write_eof()
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
    assert said in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_report_for_a_worker_that_died_is_taken_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one on a stream of another edge: told once in the log, and not lost."""
    async with workers(tmp_path, 2, missing=2) as (one, two):
        for _ in range(3):
            assert await one.take(report_on(two.new_name()))
    assert caplog.text.count("edge worker 2 does not take a page's report") == 1


@pytest.mark.parametrize("name", ["abc", "0.abc", "9.abc", "٣.abc", "-1.abc", "", "1111111111.a"])
async def test_the_name_of_another_edges_stream_is_nobodys(name: str, tmp_path: Path) -> None:
    """It is taken where it came."""
    async with workers(tmp_path, 2) as (one, two):
        async with asyncio.timeout(5):
            assert await one.take(report_on(name))
        assert not one.is_new(name)
        assert two.is_new(name)


def test_the_supervisor_is_light() -> None:
    """It serves nothing: what the workers are made of would only take memory, once more."""
    code = (
        "import sys, edge.workers.__main__; sys.exit(bool({'grpc', 'litestar', 'uvicorn'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
