"""All instruments: names, units, labels and buckets, each once. Labels have few values, and never an id.

Prometheus has the same names with dots as underscores, `_seconds` and `_total`.
"""

from __future__ import annotations

from typing import Final

from tokenwire.latency import HOPS
from tokenwire.telemetry.metrics.home import home

_HOME: Final = home()

HOP_BOUNDS_S: Final = (
    1e-5, 2.5e-5, 5e-5,
    1e-4, 2.5e-4, 5e-4,
    1e-3, 2.5e-3, 5e-3,
    1e-2, 2.5e-2, 5e-2,
    0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""10 µs to 10 s: from a hop inside a process to a stall that makes readers leave. 250 ms is the default of
TOKENWIRE_STALL_MS."""

WAIT_BOUNDS_S: Final = (
    0.001, 0.0025, 0.005,
    0.01, 0.025, 0.05,
    0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
)  # fmt: skip
"""1 ms to 60 s: what a user waits for."""

PERSON_BOUNDS_S: Final = (
    1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
    1800.0, 3600.0, 14400.0, 86400.0,
)  # fmt: skip
"""1 s to a day: how long a person takes."""

GEN_AI_BOUNDS_S: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
"""As the conventions have them."""

CLOCK_BOUNDS_S: Final = (1e-6, 1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 0.1, 1.0)

STREAM_OUTCOMES: Final = ("completed", "cancelled", "error", "client_disconnect", "evicted", "drained")
"""The values of the span attribute `tokenwire.stream.outcome`."""

DIALECTS: Final = ("native", "ai_sdk", "openai", "ag_ui")
"""In what an edge serves streams: the values of the span attribute `tokenwire.stream.dialect`."""

STORE_OPERATIONS: Final = ("create", "append", "read", "info", "sessions", "delete")
CANCEL_CAUSES: Final = ("cancelled", "follower_left", "deadline", "shutdown", "log_lost")
"""Why a run is stopped: the values of the span attribute `tokenwire.run.stop_cause`."""

INPUT_OUTCOMES: Final = ("answered", "declined", "expired", "unanswered")
"""How a question to a person was closed: `unanswered` by the end of its run."""

RESUMED_BY: Final = ("client", "edge")
BY_CLIENT, BY_EDGE = RESUMED_BY

STAGE_DURATION: Final = _HOME.histogram(
    "tokenwire.stage.duration",
    "Time of each event from one stage to the next; for `model`, since the previous event.",
    bounds_s=HOP_BOUNDS_S,
    labels={"stage": HOPS},
)
"""Values of `stage` are the hops; the edge writes those of the streams that it serves, the core those of its
direct callers."""

TOKEN_GAP: Final = _HOME.histogram(
    "tokenwire.token.gap",
    "Time between two tokens of a stream at its last stage.",
    bounds_s=HOP_BOUNDS_S,
)

STREAM_TTFT: Final = _HOME.histogram(
    "tokenwire.stream.ttft",
    "Time from the arrival of a request until its first token was written.",
    bounds_s=WAIT_BOUNDS_S,
)

STALLS: Final = _HOME.counter(
    "tokenwire.stalls",
    "Gaps between two tokens longer than TOKENWIRE_STALL_MS, by the hop that caused them.",
    unit="{stall}",
    labels={"hop": HOPS},
)
"""With exemplars."""

STREAMS_STALLED: Final = _HOME.counter(
    "tokenwire.streams.stalled",
    "Ended streams that had a stall, by the hop that caused it; counted once per hop.",
    unit="{stream}",
    labels={"hop": HOPS},
)
"""Counted when the stream ends, so that it can be divided by `tokenwire.streams.closed`."""

STREAMS_ACTIVE: Final = _HOME.gauge("tokenwire.streams.active", "Open streams.", unit="{stream}")

STREAMS_CLOSED: Final = _HOME.counter(
    "tokenwire.streams.closed",
    "Ended streams, by outcome.",
    unit="{stream}",
    labels={"outcome": STREAM_OUTCOMES},
)
"""A core counts the streams of its direct callers in this and the two before, an edge all of its own."""

STREAMS_SERVED: Final = _HOME.counter(
    "tokenwire.streams.served",
    "Ended streams of the edge, by dialect and outcome.",
    unit="{stream}",
    labels={"dialect": DIALECTS, "outcome": STREAM_OUTCOMES},
    by="edge",
)

TOKENS: Final = _HOME.counter(
    "tokenwire.tokens", "Text and reasoning deltas that were written live, not replayed.", unit="{token}"
)

CANCEL_DURATION: Final = _HOME.histogram(
    "tokenwire.cancel.duration",
    "Time from the request to stop a run until its agent had ended, by cause.",
    bounds_s=WAIT_BOUNDS_S,
    labels={"cause": CANCEL_CAUSES},
    by="core",
)

INPUT_DURATION: Final = _HOME.histogram(
    "tokenwire.input.duration",
    "Time from a question of an agent to a person until it was closed, by outcome.",
    bounds_s=PERSON_BOUNDS_S,
    labels={"outcome": INPUT_OUTCOMES},
    by="core",
)

RESUMES: Final = _HOME.counter(
    "tokenwire.resumes",
    "Streams that were resumed after an event id, by a client that reconnected or an edge that had lost its "
    "core.",
    unit="{resume}",
    labels={"by": RESUMED_BY},
    by="edge",
)

RESYNCS: Final = _HOME.counter(
    "tokenwire.resyncs",
    "Streams that had to start again, because events they needed were removed.",
    unit="{resync}",
    by="edge",
)

LOOP_LAG: Final = _HOME.histogram(
    "tokenwire.event_loop.lag",
    "Delay of the event loop: how late it would have run a callback due at any time.",
    bounds_s=HOP_BOUNDS_S,
)

CLOCK_ERROR: Final = _HOME.histogram(
    "tokenwire.clock.error",
    "Maximum error of the offset between the clocks of edge and core, once per stream.",
    bounds_s=CLOCK_BOUNDS_S,
    by="edge",
)

TELEMETRY_DROPPED: Final = _HOME.counter(
    "tokenwire.telemetry.dropped",
    "Spans that were lost before export, by reason.",
    unit="{span}",
    labels={"reason": ()},
)

STORE_DURATION: Final = _HOME.histogram(
    "tokenwire.store.duration",
    "Duration of the run log's operations, by kind of store and operation. Not measured for the memory "
    "store, which does not wait.",
    bounds_s=HOP_BOUNDS_S,
    labels={"store": (), "operation": STORE_OPERATIONS},
    by="core",
)

GEN_AI_CONVENTIONS: Final = "0.1.0"
"""The version of the GenAI conventions that the next three names are from. They are in development: what is
renamed there is renamed here, and said in the change log.

Source: https://github.com/open-telemetry/semantic-conventions-genai
"""

GEN_AI_LABELS: Final = {"gen_ai.operation.name": (), "gen_ai.provider.name": (), "gen_ai.request.model": ()}

GEN_AI_DURATION: Final = _HOME.histogram(
    "gen_ai.client.inference.duration",
    "Duration of model calls.",
    bounds_s=GEN_AI_BOUNDS_S,
    labels={**GEN_AI_LABELS, "error.type": ()},
    by="core",
)

GEN_AI_TIME_TO_FIRST_CHUNK: Final = _HOME.histogram(
    "gen_ai.client.inference.time_to_first_chunk",
    "Time from a model call until the first chunk of its answer.",
    bounds_s=GEN_AI_BOUNDS_S,
    labels=GEN_AI_LABELS,
    by="core",
)

GEN_AI_TIME_PER_OUTPUT_CHUNK: Final = _HOME.histogram(
    "gen_ai.client.inference.time_per_output_chunk",
    "Time between two chunks of a model's answer.",
    bounds_s=GEN_AI_BOUNDS_S,
    labels=GEN_AI_LABELS,
    by="core",
)
