"""The core's settings, read from the environment once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from agent_core.agents.loading import AgentLoadError, parse_sources
from agent_core.log.budget import FLOOR_BYTES
from agent_core.log.encoding import MAX_PAYLOAD_BYTES
from agent_core.log.settings import LogSettings
from agent_core.log.store_url import read_store
from agent_core.runs.limits import CoreLimits, RunLimits
from tokenwire.addresses import is_loopback, read_grpc_host
from tokenwire.authentication import AuthenticationSettings
from tokenwire.limits import SHARE_LOST, require_share, unlimited_share
from tokenwire.logs import LogFormat
from tokenwire.principal import require_key_length, require_separation


class Settings(RunLimits, CoreLimits, LogSettings, AuthenticationSettings):
    """What an operator can set. Each field is the variable TOKENWIRE_ and its name in capitals.

    Limits stand where they are applied: those of runs in `runs.limits`, those of the log in `log.settings`.
    """

    grpc_host: str = "127.0.0.1"
    """Address to listen on: IPv4 (`0.0.0.0` for all), IPv6 (`::` for all of both), a host name, or
    `unix:PATH`. On addresses other than loopback, callers must authenticate."""

    grpc_port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 for any free one, which is logged."""

    grpc_tls_cert: Path | None = None
    """PEM file of the certificate chain of the core. If unset, the port speaks plaintext."""

    grpc_tls_key: Path | None = None
    """PEM file of that certificate's key."""

    grpc_tls_client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are accepted (mTLS). If set, every caller needs
    such a certificate."""

    principal_key: SecretStr = SecretStr("")
    """Secret that verifies on whose behalf an edge calls: the same value as at the edges, at least 32 bytes.
    If set, calls without a signed principal, a client certificate or credentials that TOKENWIRE_AUTH accepts
    are refused. Required with TOKENWIRE_GRPC_TLS_CLIENT_CA: it separates the users of an edge."""

    shared_owner: bool = False
    """Whether all users of an edge are one owner: each can see, follow and stop the runs of the others, and
    sessions with their histories are shared. Signed principals are then ignored; clients with a certificate
    are still distinguished by its common name. Use instead of TOKENWIRE_PRINCIPAL_KEY, not with it."""

    agent: str = ""
    """Agents, separated by whitespace: names of built-in ones (`assistant`, `pace`) and of those that
    installed packages offer (`portfolio`), or `name=package.module:attribute`. The first is the default.
    `assistant`, the default if none is named, is always available."""

    reload: bool = False
    """Whether the core restarts when a file of its agents changes, for development. Runs get
    TOKENWIRE_DRAIN_S to end first; with the memory store they are lost."""

    drain_s: float = Field(default=10.0, ge=0)
    """How long runs may continue after SIGTERM, in seconds."""

    max_message_bytes: int = Field(default=131_072, ge=1, le=1_048_576)
    """Maximum size of a user's message, in bytes of UTF-8. It is kept with its run, and as long."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum severity of the lines that are logged, to standard error."""

    log_format: LogFormat = "text"
    """Format of log lines: `text` for people, or `json` for programs, one object per line."""

    @field_validator("grpc_host")
    @classmethod
    def _host(cls, value: str) -> str:
        return read_grpc_host(value)

    @field_validator("agent")
    @classmethod
    def _agents(cls, value: str) -> str:
        try:
            parse_sources(value)
        except AgentLoadError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("principal_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        require_key_length(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.grpc_tls_cert is None) != (self.grpc_tls_key is None):
            raise ValueError("TOKENWIRE_GRPC_TLS_CERT and TOKENWIRE_GRPC_TLS_KEY must be set together")
        if self.grpc_tls_client_ca is not None and self.grpc_tls_cert is None:
            raise ValueError("TOKENWIRE_GRPC_TLS_CLIENT_CA needs TOKENWIRE_GRPC_TLS_CERT")
        if self.log_total_bytes < self.log_run_bytes:
            raise ValueError("TOKENWIRE_LOG_TOTAL_BYTES must be at least TOKENWIRE_LOG_RUN_BYTES")
        if not (self.proves_callers or is_loopback(self.grpc_host)):
            raise ValueError(
                f"refusing to listen on {self.grpc_host}, where anyone could start runs: set "
                "TOKENWIRE_PRINCIPAL_KEY (for edges), or TOKENWIRE_AUTH=keys or jwt"
            )
        return self

    @model_validator(mode="after")
    def _separates_owners(self) -> Self:
        proof = "" if self.grpc_tls_client_ca is None else "TOKENWIRE_GRPC_TLS_CLIENT_CA"
        require_separation(proof, key=self.principal_key.get_secret_value(), shared_owner=self.shared_owner)
        if self.shared_owner and self.auth != "none" and self.grpc_tls_client_ca is None:
            raise ValueError(
                f"with TOKENWIRE_SHARED_OWNER=true and TOKENWIRE_AUTH={self.auth} the core would refuse all "
                "edges, since they do not authenticate: unset TOKENWIRE_AUTH at the core, or set "
                "TOKENWIRE_GRPC_TLS_CLIENT_CA and give the edges certificates"
            )
        return self

    @model_validator(mode="after")
    def _fair(self) -> Self:
        if not self.has_principals:
            return self
        for share in self._shares():
            require_share(*share)
        share_bytes = self.principal_log_bytes
        least_bytes = self.max_principal_runs * min(FLOOR_BYTES, self.log_run_bytes)
        if 0 < share_bytes < least_bytes:
            raise ValueError(
                f"TOKENWIRE_LOG_PRINCIPAL_BYTES ({share_bytes}) must be at least {least_bytes}, which "
                f"TOKENWIRE_MAX_PRINCIPAL_RUNS ({self.max_principal_runs}) runs need"
            )
        return self

    @property
    def proves_callers(self) -> bool:
        """Whether callers must prove who they are."""
        return (
            bool(self.principal_key.get_secret_value())
            or self.grpc_tls_client_ca is not None
            or self.auth != "none"
        )

    @property
    def has_principals(self) -> bool:
        """Whether callers prove who they are, and are not all one owner: else principals have no shares."""
        return self.proves_callers and not self.shared_owner

    def bearer_warnings(self) -> list[str]:
        """Return what an operator should know of bearers that others could read on their way."""
        if self.auth == "none" or self.grpc_tls_cert is not None or is_loopback(self.grpc_host):
            return []
        warning = (
            f"TOKENWIRE_AUTH={self.auth} on {self.grpc_host} without TOKENWIRE_GRPC_TLS_CERT: API keys and "
            "JWTs can be read in the network, unless a proxy or mesh encrypts the connections"
        )
        return [warning]

    def share_warnings(self) -> list[str]:
        """Return what an operator should know of limits that let one principal lock others out."""
        if not self.has_principals:
            return []
        warnings = [warning for share in self._shares() for warning in unlimited_share(*share)]
        newest_bytes = self.max_principal_runs * MAX_PAYLOAD_BYTES
        if newest_bytes > self.log_total_bytes and not self._shared_store:
            warnings.append(
                f"TOKENWIRE_MAX_PRINCIPAL_RUNS ({self.max_principal_runs}) runs with one event of 1 MiB each "
                f"exceed TOKENWIRE_LOG_TOTAL_BYTES ({self.log_total_bytes}): {SHARE_LOST}"
            )
        return warnings

    @property
    def _shared_store(self) -> bool:
        """Whether the store is Redis, which has a limit of its own in place of TOKENWIRE_LOG_TOTAL_BYTES."""
        return read_store(self.store).kind == "redis"

    def _shares(self) -> list[tuple[str, int, str, int]]:
        """Return the limits of each principal beside those of all."""
        return [
            ("TOKENWIRE_MAX_PRINCIPAL_RUNS", self.max_principal_runs, "TOKENWIRE_MAX_RUNS", self.max_runs),
            (
                *("TOKENWIRE_MAX_PRINCIPAL_FOLLOWS", self.max_principal_follows),
                *("TOKENWIRE_MAX_FOLLOWS", self.max_follows),
            ),
            (
                *("TOKENWIRE_LOG_PRINCIPAL_BYTES", self.principal_log_bytes),
                *("TOKENWIRE_LOG_TOTAL_BYTES", 0 if self._shared_store else self.log_total_bytes),
            ),
        ]
