"""What telemetry costs a core and an edge that serve streams.

    python -m bench.telemetry_cost [--rounds 7] [--seconds 6] [--out bench/results/telemetry-cost.json]

A real core and a real edge, each a process of its own, and clients on loopback that read `pace` at a fixed
rate. The contestants, interleaved round by round and compared within a round:

* `off`: no tracing. The layer that is always on is in all of them; `bench.recorder_cost` measures that.
* `off again`: the same. How far two equal ones differ is how much a difference means.
* `detail off`: tracing set up, every stream sampled, TOKENWIRE_TRACE_DETAIL=off.
* `compact`: every stream sampled, and every token in its trace.
* `unsampled`: OTEL_TRACES_SAMPLER with a ratio of 0, so that streams are recorded to be kept if they stall.

Spans go over OTLP/gRPC to a process that takes them and does nothing. Reported are the CPU time that core and
edge take for a token, and the p50 and p99 of the gaps between two tokens at the clients. With `--rate 0`
streams go as fast as they can: then tokens a second are what is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.machine import busy_since, machine, processor_ticks, versions
from bench.process_cpu import cpu_s
from bench.result_file import as_text
from bench.trace_sink import trace_sink
from tests.support.processes import Running, clean_environment, core_is_serving, edge_is_ready, free_port

OFF: Final = "off"


def contestants(sink: str) -> dict[str, dict[str, str]]:
    """Return the variables that each contestant's processes have."""
    traced = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": sink}
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    return {
        OFF: {},
        "off again": {},
        "detail off": {**traced, "TOKENWIRE_TRACE_DETAIL": "off"},
        "compact": traced,
        "unsampled": {**traced, **ratio},
    }


@dataclass
class Load:
    """What the clients ask for."""

    streams: int
    seconds: float
    rate: float
    """Tokens a second of each stream; 0 for as fast as possible."""

    @property
    def tokens(self) -> int:
        """How many each stream has."""
        return round(self.seconds * self.rate) if self.rate else 5_000


@dataclass
class Seen:
    """What the clients saw."""

    tokens: int = 0
    gaps_ms: list[float] = field(default_factory=list)


async def read_stream(port: int, load: Load, number: int, seen: Seen) -> None:
    """Read one stream to its end.

    Raises:
        RuntimeError: It was not whole.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    message = json.dumps({"tokens": load.tokens, "rate": load.rate})
    body = json.dumps({"message": message, "sessionId": f"s{number}", "agent": "pace"}).encode()
    writer.write(
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    last, ended = 0.0, False
    while data := await reader.read(1 << 16):
        now = time.perf_counter()
        if b'"text_delta"' in data:
            if last:
                seen.gaps_ms.append((now - last) * 1000)
            last = now
        ended = ended or b'"finishReason":"stop"' in data
    writer.close()
    if not ended:
        raise RuntimeError("a stream did not end as it should")
    seen.tokens += load.tokens


async def crowd(port: int, load: Load) -> Seen:
    """Return what so many clients saw that came one after the other within a second."""
    seen = Seen()

    async def client(number: int) -> None:
        await asyncio.sleep(number / load.streams)
        await read_stream(port, load, number, seen)

    await asyncio.gather(*(client(number) for number in range(load.streams)))
    return seen


@contextmanager
def product(variables: Mapping[str, str], folder: Path) -> Iterator[tuple[Running, Running, int]]:
    """Run a core and an edge; yield both, and the edge's port."""
    core_port, edge_port = free_port(), free_port()
    address = f"127.0.0.1:{core_port}"
    core_settings = {**variables, "TOKENWIRE_GRPC_PORT": str(core_port), "TOKENWIRE_AGENT": "pace"}
    edge_settings = {**variables, "TOKENWIRE_CORE": address, "TOKENWIRE_PORT": str(edge_port)}
    core = Running(
        "core", [sys.executable, "-m", "agent_core"], environment=_quiet(core_settings), folder=folder
    )
    try:
        core.wait_ready(lambda: core_is_serving(address))
        edge = Running(
            "edge", [sys.executable, "-m", "edge"], environment=_quiet(edge_settings), folder=folder
        )
        try:
            edge.wait_ready(lambda: edge_is_ready(f"http://127.0.0.1:{edge_port}"))
            yield core, edge, edge_port
        finally:
            edge.stop()
    finally:
        core.stop()


def _quiet(settings: Mapping[str, str]) -> dict[str, str]:
    return clean_environment({**settings, "TOKENWIRE_LOG_LEVEL": "warning", "TOKENWIRE_MAX_STREAMS": "2000"})


def measure(variables: Mapping[str, str], load: Load) -> dict[str, Any]:
    """Return what one round of a contestant costs."""
    with (
        tempfile.TemporaryDirectory(prefix="tokenwire-cost-") as folder,
        product(variables, Path(folder)) as (core, edge, port),
    ):
        asyncio.run(crowd(port, Load(load.streams, 1, load.rate or 100)))  # warms up
        before, ticks, begin = [cpu_s(core.pid), cpu_s(edge.pid)], processor_ticks(), time.perf_counter()
        seen = asyncio.run(crowd(port, load))
        lasted_s = time.perf_counter() - begin
        after = [cpu_s(core.pid), cpu_s(edge.pid)]
    quantiles = statistics.quantiles(seen.gaps_ms, n=100)
    return {
        "core_us": round((after[0] - before[0]) / seen.tokens * 1e6, 2),
        "edge_us": round((after[1] - before[1]) / seen.tokens * 1e6, 2),
        "gap_p50_ms": round(quantiles[49], 3),
        "gap_p99_ms": round(quantiles[98], 3),
        "tokens_per_s": round(seen.tokens / lasted_s),
        "busy": round(busy_since(ticks), 2),
    }


def rotated(items: Mapping[str, dict[str, str]], by: int) -> list[tuple[str, dict[str, str]]]:
    """Return the items, beginning with another one each time."""
    listed = list(items.items())
    return listed[by % len(listed) :] + listed[: by % len(listed)]


def ratios(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[str, tuple[float, float, float]]:
    """Return each contestant's median ratio to `off` in the same round, the lowest and the highest."""
    base = {row["round"]: row[figure] for row in rows if row["contestant"] == OFF}
    found: dict[str, list[float]] = {name: [] for name in contestants("")}
    for row in rows:
        found[row["contestant"]].append(row[figure] / base[row["round"]])
    return {name: (statistics.median(them), min(them), max(them)) for name, them in found.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Run the rounds, print the table and keep the raw rows."""
    parser = argparse.ArgumentParser(description="What telemetry costs core and edge; paired.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--streams", type=int, default=60)
    parser.add_argument(
        "--rate", type=float, default=40.0, help="tokens a second of each stream; 0: no limit"
    )
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    load = Load(arguments.streams, arguments.seconds, arguments.rate)
    rows: list[dict[str, Any]] = []
    start = machine()
    with trace_sink() as url:
        for number in range(arguments.rounds):
            # Each round begins with another one, so that no contestant always runs on a warmer machine.
            for name, variables in rotated(contestants(url), number):
                rows.append({"round": number, "contestant": name, **measure(variables, load)})
                print(json.dumps(rows[-1]), file=sys.stderr)
    print_table(rows)
    if arguments.out:
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python -m bench.telemetry_cost --rate {arguments.rate:g}",
            "machine": start,
            "versions": versions(),
            "streams": load.streams,
            "tokens_each": load.tokens,
            "rate": load.rate,
            "rows": rows,
        }
        arguments.out.write_text(as_text(result))


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print each contestant's medians, and its ratio to `off`: median, lowest and highest of the pairs."""
    for row in rows:
        row["cpu_us"] = round(row["core_us"] + row["edge_us"], 2)
    figures = {"cpu_us": "CPU µs/token", "gap_p99_ms": "p99 gap, ms", "tokens_per_s": "tokens/s"}
    for figure, title in figures.items():
        print(f"{title:14}{'median':>10}   ratio to {OFF}: median (lowest to highest of the pairs)")
        for name, (median, lowest, highest) in ratios(rows, figure).items():
            value = statistics.median(row[figure] for row in rows if row["contestant"] == name)
            print(f"  {name:12}{value:10.2f}   {median:.3f} ({lowest:.3f} to {highest:.3f})")


if __name__ == "__main__":
    main()
