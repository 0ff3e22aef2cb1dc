"""Where the log is, how much it keeps, and how long: what an operator can set."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, Field, field_validator

from agent_core.log.store_url import read_store

LOG_SHARES: Final = 4
"""A principal's share of the log is one of so many, unless it is set."""


class LogSettings(BaseModel, extra="forbid"):
    """What an operator can set of the log. A part of the core's settings, which inherit it.

    `LogBudget.of` makes of it what a store is given.
    """

    store: str = "memory"
    """Where runs are logged: `memory`, lost with the process; `sqlite:PATH`, a file for one core at a time;
    or `redis://HOST:PORT/DB` (also `rediss://` and `unix://`), Redis 7 or Valkey, for many cores."""

    redis_prefix: str = Field(default="tokenwire", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    """Prefix of all keys in Redis. Cores with the same prefix share their runs."""

    log_run_bytes: int = Field(default=4_194_304, ge=1)
    """Maximum size of the events that the log keeps of one run, in bytes. Beyond it the oldest are removed,
    and readers that need them are told."""

    log_run_events: int = Field(default=20_000, ge=1)
    """Maximum number of events that the log keeps of one run."""

    log_total_bytes: int = Field(default=268_435_456, ge=1)
    """Maximum size of all runs in the log, in bytes. Beyond it ended runs are removed early, and new runs are
    refused if there is not enough space for TOKENWIRE_LOG_RUN_BYTES."""

    log_principal_bytes: int | None = Field(default=None, ge=0)
    """Maximum size of the runs and sessions that the log keeps of one principal, in bytes. If unset, a
    quarter of TOKENWIRE_LOG_TOTAL_BYTES; 0 means no limit. Beyond it the principal's ended runs are removed
    early, then its running runs are shortened; other principals are not affected."""

    log_retention_s: float = Field(default=900.0, ge=0)
    """How long a run can be followed after its end, in seconds."""

    session_exchanges: int = Field(default=20, ge=0)
    """Maximum number of exchanges (a question and its answer) that are kept of a session and given to its
    agent."""

    session_bytes: int = Field(default=65_536, ge=0)
    """Maximum size of the text that is kept of a session's exchanges, in bytes."""

    session_retention_s: float = Field(default=86_400.0, ge=0)
    """How long a session's exchanges are kept after the end of its last run, in seconds."""

    @field_validator("store")
    @classmethod
    def _store(cls, value: str) -> str:
        read_store(value)
        return value

    @property
    def principal_log_bytes(self) -> int:
        """The most bytes that the log keeps of one principal; 0 for no limit."""
        given = self.log_principal_bytes
        return self.log_total_bytes // LOG_SHARES if given is None else given
