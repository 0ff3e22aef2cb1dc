"""What the wire core costs for one token, against straightforward ways to write the same frame.

    python bench/wire_core.py [--rounds 15] [--tokens 20000] [--out bench/results/wire-core.json]

Every contestant turns the same encoded `StreamRunResponse`s (one text delta each) into SSE bytes, in one
thread, from memory to memory. The rounds are interleaved (A B C A B C …), and a contestant is compared
with the baseline round by round, so that a drift of the machine's speed touches both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from google.protobuf.json_format import MessageToDict
from litestar.response.sse import ServerSentEventMessage

from tests.support.fed_stream import FedStream
from tokenwire.v1 import agent_service_pb2

RUN_ID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
BASELINE = "json.dumps"


def responses(count: int) -> list[bytes]:
    """Return `count` encoded responses of one text delta each."""
    encoded = []
    for sequence in range(1, count + 1):
        response = agent_service_pb2.StreamRunResponse(run_id=RUN_ID)
        event = response.events.add(sequence=sequence, epoch=1)
        event.create_time.GetCurrentTime()
        event.text_delta.content = f" token{sequence % 100}"
        encoded.append(response.SerializeToString())
    return encoded


def wire_core(encoded: list[bytes], batch: int = 1) -> int:
    """Return the bytes written by the wire core, `batch` responses a write."""
    stream = FedStream(budget_bytes=1 << 30)
    written = 0
    for start in range(0, len(encoded), batch):
        for message in encoded[start : start + batch]:
            stream.feed(message)
        written += len(stream.take())
    return written


def json_dumps(encoded: list[bytes]) -> int:
    """Return the bytes written by hand: a dict, json.dumps, an f-string."""
    written = 0
    parse = agent_service_pb2.StreamRunResponse.FromString
    for message in encoded:
        for event in parse(message).events:
            data = {
                "type": "text_delta",
                "timestamp": event.create_time.ToMilliseconds(),
                "content": event.text_delta.content,
            }
            written += len(f"data: {json.dumps(data)}\nid: {RUN_ID}.1.{event.sequence}\n\n".encode())
    return written


def server_sent_event(encoded: list[bytes]) -> int:
    """Return the bytes written through msgspec and Litestar's ServerSentEventMessage."""
    written = 0
    parse = agent_service_pb2.StreamRunResponse.FromString
    for message in encoded:
        for event in parse(message).events:
            data = msgspec.json.encode(
                {
                    "type": "text_delta",
                    "timestamp": event.create_time.ToMilliseconds(),
                    "content": event.text_delta.content,
                }
            )
            frame = ServerSentEventMessage(data=data.decode(), id=f"{RUN_ID}.1.{event.sequence}", sep="\n")
            written += len(frame.encode())
    return written


def proto_json(encoded: list[bytes]) -> int:
    """Return the bytes written through protobuf's own JSON."""
    written = 0
    parse = agent_service_pb2.StreamRunResponse.FromString
    for message in encoded:
        for event in parse(message).events:
            data = json.dumps(MessageToDict(event))
            written += len(f"data: {data}\nid: {RUN_ID}.1.{event.sequence}\n\n".encode())
    return written


CONTESTANTS: dict[str, Callable[[list[bytes]], int]] = {
    BASELINE: json_dumps,
    "wire core": wire_core,
    "wire core, 8 merged": lambda encoded: wire_core(encoded, 8),
    "Litestar ServerSentEventMessage": server_sent_event,
    "protobuf JSON": proto_json,
}


def main(words: Sequence[str] | None = None) -> None:
    """Run the rounds, print the table and keep the raw rows."""
    parser = argparse.ArgumentParser(description="CPU time per token of the wire core, paired.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    encoded = responses(arguments.tokens)
    rows: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(arguments.rounds):
        for name, contestant in CONTESTANTS.items():
            begin = time.process_time()
            contestant(encoded)
            rows[name].append((time.process_time() - begin) / arguments.tokens * 1e6)
    print(f"{'':34}{'µs/token':>10}{'min':>8}{'max':>8}   ratio to {BASELINE} (median of pairs)")
    for name, times in rows.items():
        ratio = statistics.median(a / b for a, b in zip(times, rows[BASELINE], strict=True))
        print(f"{name:34}{statistics.median(times):10.2f}{min(times):8.2f}{max(times):8.2f}   {ratio:.2f}")
    if arguments.out:
        arguments.out.write_text(
            json.dumps(
                {
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                    "python": platform.python_version(),
                    "machine": platform.processor() or platform.machine(),
                    "tokens": arguments.tokens,
                    "microseconds_per_token": {n: [round(t, 3) for t in ts] for n, ts in rows.items()},
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
