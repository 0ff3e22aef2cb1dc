"""What a token costs the edge in each dialect, against the native one.

    python -m bench.dialect_cost [--rounds 5] [--seconds 5] [--out bench/results/dialect-cost.json]

One core and one edge, each a process of its own, and clients on loopback that read `pace` at a fixed rate.
Measured is a window in which all streams are open. The dialects take turns, round by round, and are compared
within a round: `native again` says how much a difference means. Merging is off: one frame a token in all.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.machine import machine, versions
from bench.process_cpu import cpu_s
from bench.result_file import as_text
from bench.telemetry_cost import Load, product

NATIVE: Final = "native"
OPEN_S: Final = 1.0
"""Within which the streams are opened."""
SETTLE_S: Final = 0.3
"""Left out at both ends of the window."""
_sessions: Final = itertools.count(1)


class Route(NamedTuple):
    """How a dialect is asked."""

    path: str
    is_delta: bytes
    """What each of its frames of a token holds."""
    ended: bytes
    """What its last bytes hold."""


_NATIVE: Final = Route("/api/chat", b'"type":"text_delta"', b'"finishReason":"stop"')
ROUTES: Final[Mapping[str, Route]] = {
    NATIVE: _NATIVE,
    "native again": _NATIVE,
    "ai_sdk": Route("/api/ai-sdk/chat?agent=pace", b'"type":"text-delta"', b"data: [DONE]"),
    "ag_ui": Route("/api/ag-ui?agent=pace", b'"type":"TEXT_MESSAGE_CONTENT"', b'"type":"RUN_FINISHED"'),
    "openai": Route("/v1/chat/completions", b'"delta":{"content":"0', b"data: [DONE]"),
}


def question(route: Route, message: str) -> bytes:
    """Return a body that asks something in a session of its own."""
    session = f"s{next(_sessions)}"
    said = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": message}]}
    bodies: dict[str, dict[str, Any]] = {
        _NATIVE.path: {"message": message, "sessionId": session, "agent": "pace"},
        ROUTES["ai_sdk"].path: {"id": session, "messages": [said]},
        ROUTES["ag_ui"].path: {
            "threadId": session,
            "runId": "r1",
            "messages": [{"id": "u1", "role": "user", "content": message}],
        },
        ROUTES["openai"].path: {
            "model": "pace",
            "stream": True,
            "messages": [{"role": "user", "content": message}],
        },
    }
    return json.dumps(bodies[route.path]).encode()


@dataclass
class Crowd:
    """So many clients of one dialect, and what they have read."""

    port: int
    route: Route
    load: Load
    tokens: int = 0

    async def read_stream(self, number: int) -> None:
        """Read one stream to its end.

        Raises:
            RuntimeError: It was not whole.
        """
        await asyncio.sleep(number / self.load.streams * OPEN_S)
        body = question(self.route, json.dumps({"tokens": self.load.tokens, "rate": self.load.rate}))
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (self.route.path.encode(), len(body), body)
        )
        read, last = 0, b""
        while data := await reader.read(1 << 16):
            read += data.count(self.route.is_delta)
            self.tokens += data.count(self.route.is_delta)
            last = last[-400:] + data
        writer.close()
        if read != self.load.tokens or self.route.ended not in last:
            raise RuntimeError(f"a stream of {self.route.path} did not end as it should: {last[-300:]!r}")

    async def cost_us(self, pid: int) -> float:
        """Return the CPU time of a process for each token that is read while all streams are open, in µs."""
        reading = asyncio.gather(*(self.read_stream(number) for number in range(self.load.streams)))
        await asyncio.sleep(OPEN_S + SETTLE_S)
        tokens, begin_s = self.tokens, cpu_s(pid)
        await asyncio.sleep(self.load.seconds - OPEN_S - 2 * SETTLE_S)
        tokens, used_s = self.tokens - tokens, cpu_s(pid) - begin_s
        await reading
        return used_s / tokens * 1e6


def measure(rounds: int, load: Load) -> list[dict[str, Any]]:
    """Return the edge's CPU time for a token, in µs: a row for each dialect and round."""
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="tokenwire-dialects-") as folder,
        product({"TOKENWIRE_MERGE": "false"}, Path(folder)) as (_, edge, port),
    ):
        for number in range(rounds):
            names = [*ROUTES]
            # Each round begins with another one, so that none always runs on a warmer machine.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                edge_us = asyncio.run(Crowd(port, ROUTES[name], load).cost_us(edge.pid))
                rows.append({"round": number, "dialect": name, "edge_us": round(edge_us, 2)})
                print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Return each dialect's median ratio to `native` in the same round, the lowest and the highest."""
    base = {row["round"]: row["edge_us"] for row in rows if row["dialect"] == NATIVE}
    found: dict[str, list[float]] = {name: [] for name in ROUTES}
    for row in rows:
        found[row["dialect"]].append(row["edge_us"] / base[row["round"]])
    return {name: (statistics.median(them), min(them), max(them)) for name, them in found.items()}


def main(words: Sequence[str] | None = None) -> None:
    """Run the rounds, print the table and keep the raw rows."""
    parser = argparse.ArgumentParser(description="What a token costs the edge in each dialect; paired.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens a second of each stream")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    load = Load(arguments.streams, arguments.seconds, arguments.rate)
    start = machine()
    rows = measure(arguments.rounds, load)
    print(f"{'edge µs/token':14}{'median':>10}   ratio to {NATIVE}: median (lowest to highest of the pairs)")
    for name, (median, lowest, highest) in ratios(rows).items():
        value = statistics.median(row["edge_us"] for row in rows if row["dialect"] == name)
        print(f"  {name:12}{value:10.2f}   {median:.3f} ({lowest:.3f} to {highest:.3f})")
    if arguments.out:
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "python -m bench.dialect_cost",
            "machine": start,
            "versions": versions(),
            "streams": load.streams,
            "rate": load.rate,
            "rows": rows,
        }
        arguments.out.write_text(as_text(result))


if __name__ == "__main__":
    main()
