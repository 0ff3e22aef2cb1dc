"""What both processes need to trace: the set-up and the clock."""

from tokenwire.telemetry.clock import clock_id, monotonic_nano
from tokenwire.telemetry.setup import set_up_tracing, traces_exporter

__all__ = ["clock_id", "monotonic_nano", "set_up_tracing", "traces_exporter"]
