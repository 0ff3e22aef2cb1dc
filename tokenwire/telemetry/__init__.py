"""What both processes need to trace: the set-up, the tracer, finished spans, and the clock."""

from tokenwire.telemetry.clock import clock_id, monotonic_nano
from tokenwire.telemetry.kept import discard, is_recorded, is_sampled, keep, make_child
from tokenwire.telemetry.losses import lost_spans
from tokenwire.telemetry.scope import tracer
from tokenwire.telemetry.setup import set_up_tracing, traces_exporter
from tokenwire.telemetry.stream_root import stream_root

__all__ = [
    "clock_id",
    "discard",
    "is_recorded",
    "is_sampled",
    "keep",
    "lost_spans",
    "make_child",
    "monotonic_nano",
    "set_up_tracing",
    "stream_root",
    "tracer",
    "traces_exporter",
]
