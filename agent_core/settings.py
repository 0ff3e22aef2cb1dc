"""The core's settings, read from the environment once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator can set. Each field is the variable TOKENWIRE_ and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="TOKENWIRE_", frozen=True)

    grpc_host: str = "127.0.0.1"
    """The address that the core listens on."""

    grpc_port: int = Field(default=50051, ge=0, le=65535)
    """The port that the core listens on; 0 for any free one, which the log names."""

    agent: str = ""
    """Agents as `name=package.module:attribute`, separated by whitespace. The first is the default.
    Empty for the built-in ones, of which `assistant` is the default."""

    store: str = "memory"
    """Where runs are logged. Only `memory` exists so far."""

    disconnect_grace_s: float = Field(default=30.0, ge=0)
    """How long a run without followers goes on where its on_disconnect says grace, in seconds."""

    stop_grace_s: float = Field(default=5.0, ge=0)
    """How long a cancelled agent may take to stop before its run ends without it, in seconds."""

    drain_s: float = Field(default=10.0, ge=0)
    """How long runs may go on after SIGTERM, in seconds."""

    run_timeout_s: float = Field(default=3600.0, gt=0)
    """The longest time that any run may take, in seconds."""

    max_message_bytes: int = Field(default=131_072, ge=1, le=1_048_576)
    """The longest message of a user, in bytes of UTF-8."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are logged."""
