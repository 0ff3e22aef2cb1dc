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
    """What traces say of tokens: `off`, nothing; `compact`, the stamps of each token, 128 to a span;
    `events`, the same as span events besides, for debugging."""

    stall_ms: float = Field(default=250.0, gt=0)
    """How long the gap between two tokens of a stream may be, in milliseconds, before it is a stall: logged,
    counted and traced."""

    trace_file: Path | None = None
    """A file that the process appends its spans to, besides or instead of OTLP: one OTLP/JSON request a line,
    for `tokenwire trace`. Several processes may share one."""

    metrics_host: str = "127.0.0.1"
    """The address that TOKENWIRE_METRICS_PORT is opened on."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """A port of its own for `GET /metrics`; 0 for any that is free, which the log names. Without it a core
    has none, and an edge serves `/metrics` beside its other routes."""

    @property
    def stall_nano(self) -> int:
        """The longest gap that is no stall, in nanoseconds."""
        return round(self.stall_ms * 1_000_000)

    @field_validator("metrics_host")
    @classmethod
    def _host(cls, value: str) -> str:
        return read_host(value)
