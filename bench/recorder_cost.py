"""What the recorder of a stream costs for one token: the layer that is always on, and the spans besides.

    python -m bench.recorder_cost [--rounds 200] [--tokens 2000] [--out bench/results/recorder-cost.json]

Every contestant turns the same encoded `StreamRunResponse`s (one text delta each) into SSE bytes, one write
a token, in one thread, from memory to memory. The rounds are interleaved, and a contestant is compared with
the one that records nothing round by round, so that a drift of the machine's speed touches both. Rounds are
short and many: the lowest of them are those that nothing else on the machine has touched. The exporter is
not in it: it has a thread of its own, and `bench.telemetry_cost` measures it with all else.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON as ALWAYS_ON_SAMPLER
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT, Span, SpanContext

from bench.kept import as_text
from bench.machine import machine, versions
from edge.telemetry.stream_recorder import StreamRecorder, TokenTelemetry
from tests.support.fed_stream import FedStream
from tokenwire.latency.clock_bounds import ClockBook
from tokenwire.telemetry import clock_id, monotonic_nano
from tokenwire.telemetry.clock import clock_tag
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.telemetry.setup import install_tracing, make_tracing
from tokenwire.v1 import agent_service_pb2

RUN_ID: Final = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"
NOTHING: Final = "nothing recorded"
ALWAYS_ON: Final = "always on"
COMPACT: Final = "sampled, compact"
TOKEN_NANO: Final = 20_000_000


def responses(count: int, began_nano: int) -> list[bytes]:
    """Return `count` encoded responses of one text delta each, with the stamps that a core takes."""
    encoded = []
    for sequence in range(1, count + 1):
        model = began_nano + sequence * TOKEN_NANO
        response = agent_service_pb2.StreamRunResponse(run_id=RUN_ID)
        response.clock.id, response.clock.send_nano = clock_id(), model + 60_000
        event = response.events.add(sequence=sequence, epoch=1)
        event.create_time.GetCurrentTime()
        event.timing.model_nano, event.timing.logged_nano = model, model + 20_000
        event.timing.clock_tag = clock_tag()
        event.text_delta.content = f" token{sequence % 100}"
        encoded.append(response.SerializeToString())
    return encoded


class Stream(NamedTuple):
    """What a recorder asks of its stream."""

    run_id: str = RUN_ID
    span_context: SpanContext = INVALID_SPAN_CONTEXT


def write(encoded: list[bytes], recorder: StreamRecorder | None) -> None:
    """Write each token's frame, with or without a recorder."""
    stream = FedStream(budget_bytes=1 << 30, live=True, stamps=recorder.stamps if recorder else None)
    if recorder is not None:
        recorder.begin(Stream(), {})
    for message in encoded:
        stream.feed(message, monotonic_nano())
        stream.take()
        if recorder is not None:
            recorder.written_at_once(monotonic_nano())
    if recorder is not None:
        recorder.end("completed", monotonic_nano(), "model")


def main(words: Sequence[str] | None = None) -> None:
    """Run the rounds, print the table and keep the raw rows."""
    parser = argparse.ArgumentParser(description="CPU time of a stream's recorder, for one token; paired.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=2_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(words)
    began_nano = monotonic_nano()
    encoded = responses(arguments.tokens, began_nano)
    tracer = _tracer()
    telemetry = TokenTelemetry(TelemetrySettings(stall_ms=1e9), ClockBook(clock_id()))

    def recorder(span: Span) -> StreamRecorder:
        return StreamRecorder(telemetry, span, began_nano=began_nano, starts=True)

    contestants: dict[str, Callable[[], StreamRecorder | None]] = {
        NOTHING: lambda: None,
        ALWAYS_ON: lambda: recorder(INVALID_SPAN),
        COMPACT: lambda: recorder(tracer.start_span("stream")),
    }
    rows = []
    for number in range(arguments.rounds):
        for name, make in contestants.items():
            made = make()
            begin = time.process_time()
            write(encoded, made)
            micros = (time.process_time() - begin) / arguments.tokens * 1e6
            rows.append({"round": number, "contestant": name, "us_per_token": round(micros, 3)})
    _print(rows)
    if arguments.out:
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "python -m bench.recorder_cost",
            "machine": machine(),
            "versions": versions(),
            "tokens": arguments.tokens,
            "rows": rows,
        }
        arguments.out.write_text(as_text(result))


def _tracer() -> trace.Tracer:
    """Return a tracer whose finished spans go nowhere: what exporting them costs is measured elsewhere."""
    tracing = make_tracing([SpanProcessor()], scope="tokenwire.edge", sampler=ALWAYS_ON_SAMPLER)
    install_tracing(tracing)
    return tracing.provider.get_tracer("tokenwire.edge")


def _print(rows: Sequence[dict[str, object]]) -> None:
    """Print each contestant's times, and what it adds to the first: by the lowest, and by the pairs."""
    by_name: dict[str, list[float]] = {}
    for row in rows:
        by_name.setdefault(str(row["contestant"]), []).append(float(str(row["us_per_token"])))
    print(f"{'µs/token':20}{'lowest':>8}{'median':>8}   added to {NOTHING}: lowest, median of pairs")
    for name, times in by_name.items():
        least = min(times) - min(by_name[NOTHING])
        usual = statistics.median(a - b for a, b in zip(times, by_name[NOTHING], strict=True))
        print(f"{name:20}{min(times):8.2f}{statistics.median(times):8.2f}   {least:.2f}, {usual:.2f}")


if __name__ == "__main__":
    main()
