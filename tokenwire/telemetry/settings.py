"""What both processes may be told about their telemetry, besides OpenTelemetry's own variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tokenwire.addresses import read_host

TraceDetail: TypeAlias = Literal["off", "compact", "events"]


class TelemetrySettings(BaseSettings):
    """Each field is the environment variable TOKENWIRE_ and its name."""

    model_config = SettingsConfigDict(env_prefix="TOKENWIRE_", frozen=True, hide_input_in_errors=True)

    trace_detail: TraceDetail = "compact"
    """What traces contain about tokens: `off`, nothing; `compact`, the timestamps of each token, 128 per
    span; `events`, also as span events, for debugging."""

    stall_ms: float = Field(default=250.0, gt=0)
    """Gap between two tokens of a stream, in milliseconds, above which it is a stall: logged, counted and
    traced."""

    trace_file: Path | None = None
    """File to which the process appends its spans, in addition to OTLP or instead of it: one OTLP/JSON
    request per line, for `tokenwire trace`. Several processes may share it."""

    metrics_host: str = "127.0.0.1"
    """Address that TOKENWIRE_METRICS_PORT is opened on."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Separate port for `GET /metrics`; 0 for any free one, which is logged. If unset, a core serves no
    metrics, and an edge serves `/metrics` beside its other routes."""

    @property
    def stall_nano(self) -> int:
        """The longest gap that is no stall, in nanoseconds."""
        return round(self.stall_ms * 1_000_000)

    @field_validator("metrics_host")
    @classmethod
    def _host(cls, value: str) -> str:
        return read_host(value)
