"""The edge's settings: read once, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from edge.http.authentication import Authenticator, NoAuthentication, load_keys
from edge.upstream import CoreSecurity
from tokenwire.logs import LogFormat
from tokenwire.loopback import is_loopback
from tokenwire.principal import MIN_KEY_BYTES


class EdgeSettings(BaseSettings):
    """Each field is the environment variable TOKENWIRE_ and its name."""

    # A message about a wrong value does not show it: it may be a secret.
    model_config = SettingsConfigDict(env_prefix="TOKENWIRE_", frozen=True, hide_input_in_errors=True)

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 for any that is free."""
    reuse_port: bool = False
    """Whether several edge processes share the port (SO_REUSEPORT)."""
    core: str = "127.0.0.1:50051"
    """HOST:PORT of the core; of several, separated by commas."""
    core_tls_ca: Path | None = None
    """PEM file of the authorities that the core's certificate is checked against. Without it: no TLS."""
    core_tls_cert: Path | None = None
    """PEM file of the certificate that the edge shows to the core (mTLS)."""
    core_tls_key: Path | None = None
    """PEM file of that certificate's key."""
    principal_key: SecretStr = SecretStr("")
    """Signs on whose behalf the edge calls the core: the same text, of at least 32 bytes, as at the
    core. Without it the core takes every call for the edge's own."""
    auth: Literal["none", "keys"] = "none"
    """Who may use the API: `none` (everybody; only when listening on loopback) or `keys`."""
    api_keys: SecretStr = SecretStr("")
    """API keys as `NAME sha256:HEX`, separated by commas (`tokenwire key` makes them)."""
    api_keys_file: Path | None = None
    """File of API keys, one such entry a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are logged, to standard error."""
    log_format: LogFormat = "text"
    """How they look: `text` for people, or `json`, one object a line, for programs."""

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
    def _addresses(cls, value: str) -> str:
        targets = value.split(",")
        for target in targets:
            host, _, port = target.rpartition(":")
            if not host or not (port.isascii() and port.isdigit()):
                raise ValueError(f"{target!r} is not HOST:PORT")
        if len(set(targets)) < len(targets):
            raise ValueError("names a core twice")
        return value

    @field_validator("principal_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value().encode()) < MIN_KEY_BYTES:
            raise ValueError(f"must have at least {MIN_KEY_BYTES} bytes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.core_tls_cert is None) != (self.core_tls_key is None):
            raise ValueError("TOKENWIRE_CORE_TLS_CERT and TOKENWIRE_CORE_TLS_KEY go together")
        if self.core_tls_cert is not None and self.core_tls_ca is None:
            raise ValueError("TOKENWIRE_CORE_TLS_CERT needs TOKENWIRE_CORE_TLS_CA")
        return self

    @property
    def core_targets(self) -> tuple[str, ...]:
        """HOST:PORT of each core."""
        return tuple(self.core.split(","))

    def core_security(self) -> CoreSecurity:
        """Return how cores are spoken to.

        Raises:
            OSError: A certificate can't be read.
        """
        return CoreSecurity(
            principal_key=self.principal_key.get_secret_value(),
            tls_ca=self.core_tls_ca.read_bytes() if self.core_tls_ca else None,
            tls_cert=self.core_tls_cert.read_bytes() if self.core_tls_cert else None,
            tls_key=self.core_tls_key.read_bytes() if self.core_tls_key else None,
        )

    def authenticator(self) -> Authenticator:
        """Return what tells who is asking.

        Raises:
            ValueError: The API keys can't be used, or `none` is not safe here.
            OSError: The key file can't be read.
        """
        if self.auth == "keys":
            return load_keys(self.api_keys.get_secret_value(), self.api_keys_file)
        if not is_loopback(self.host):
            raise ValueError(
                f"TOKENWIRE_AUTH=none is only for loopback, not for {self.host}: set TOKENWIRE_AUTH=keys"
            )
        return NoAuthentication()
