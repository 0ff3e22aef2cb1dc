"""The edge's settings: read once, from the environment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class EdgeSettings(BaseSettings):
    """Each field is the environment variable TOKENWIRE_ and its name."""

    model_config = SettingsConfigDict(env_prefix="TOKENWIRE_", frozen=True)

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 for any that is free."""
    reuse_port: bool = False
    """Whether several edge processes share the port (SO_REUSEPORT)."""
    core: str = "127.0.0.1:50051"
    """HOST:PORT of the core."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, to standard error."""

    commit_ms: float = Field(default=250, ge=0, le=10_000)
    """How long the core's first answer is awaited before the 200 leaves, in milliseconds. A refusal
    within that time is a real HTTP status; a later one is an `error` event."""
    heartbeat_s: float = Field(default=15, gt=0)
    """The silence after which a heartbeat is sent, in seconds."""
    write_deadline_s: float = Field(default=30, gt=0)
    """How long a client may leave a write stuck before it is cut off, in seconds."""
    client_budget_bytes: int = Field(default=256 * 1024, ge=1024)
    """How many bytes of events may wait for one client before the edge stops reading for it."""
    retry_ms: int = Field(default=1000, ge=10)
    """The reconnection time that browsers are given, in milliseconds; spread by half either way."""
    merge: bool = True
    """Whether deltas that wait together for a slow client become one frame."""
    drain_s: float = Field(default=10, ge=0)
    """How long open responses may take to end after SIGTERM, in seconds."""

    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    """The largest request body, in bytes."""
    trust_traceparent: bool = False
    """Whether a `traceparent` from outside becomes the trace's parent. Else it becomes a link."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins (whitespace-separated) of other sites whose pages may call the edge. None by default."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("core")
    @classmethod
    def _one_core(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if "," in value:
            raise ValueError("several cores are not supported yet: name one HOST:PORT")
        if not host or not port.isdigit():
            raise ValueError(f"{value!r} is not HOST:PORT")
        return value
