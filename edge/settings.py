"""The edge's settings: read once, from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from edge.http.authentication import NoAuthentication, Tickets, TimingTokens, ticket_key
from edge.http.limits import LimitPolicy
from edge.http.stream_policy import StreamPolicy, StreamSettings
from edge.upstream import CoreSecurity, LinkSettings
from tokenwire.addresses import is_loopback, read_host, read_targets
from tokenwire.authentication import AuthenticationSettings, Bearers
from tokenwire.limits import require_share, unlimited_share
from tokenwire.logs import LogFormat
from tokenwire.principal import require_key_length, require_separation
from tokenwire.settings import read_authorities, read_pair


class EdgeSettings(StreamSettings, AuthenticationSettings):
    """Each field is the environment variable TOKENWIRE_ and its name."""

    host: str = "127.0.0.1"
    """Address to listen on: IPv4 (`0.0.0.0` for all), IPv6 (`::` for all of both), or a host name."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 for any free one."""
    workers: int = Field(default=1, ge=1, le=256)
    """Number of processes that serve the port, each with an event loop of its own. More than CPU cores are of
    no use. A process that dies is started again. Limits per edge process are those of each worker."""
    reuse_port: bool = False
    """Whether the port may be shared with edges that were started separately (SO_REUSEPORT)."""
    core: str = "127.0.0.1:50051"
    """Address of the core: HOST:PORT, [IPV6]:PORT or `unix:PATH`; several are separated by commas."""
    link: Literal["auto", "off"] = "auto"
    """Whether the edge reads all runs of a core over one stream, the link: `auto` uses it with each core that
    has it, `off` makes a gRPC call for each run."""
    core_tls_ca: Path | None = None
    """PEM file of the authorities that the core's certificate is checked against. If unset, no TLS."""
    core_tls_cert: Path | None = None
    """PEM file of the certificate that the edge presents to the core (mTLS)."""
    core_tls_key: Path | None = None
    """PEM file of that certificate's key."""
    principal_key: SecretStr = SecretStr("")
    """Secret that signs on whose behalf the edge calls the core: the same value as at the core, at least 32
    bytes. Required unless TOKENWIRE_AUTH=none: it separates users."""
    shared_owner: bool = False
    """Whether all authenticated users are one owner at the core: each can see, follow and stop the runs of
    the others, and sessions with their histories are shared. Use instead of TOKENWIRE_PRINCIPAL_KEY, not with
    it. A core with TOKENWIRE_GRPC_TLS_CLIENT_CA needs the same setting."""
    ticket_key: SecretStr = SecretStr("")
    """Secret that signs tickets for `EventSource`: the same value at every edge, at least 32 bytes. If unset,
    a key is derived from TOKENWIRE_PRINCIPAL_KEY; without both, only the edge process that made a ticket
    accepts it."""
    ticket_lifetime_s: float = Field(default=600, ge=1, le=3600)
    """How long a ticket is valid, in seconds."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum severity of the lines that are logged, to standard error."""
    log_format: LogFormat = "text"
    """Format of log lines: `text` for people, or `json` for programs, one object per line."""

    client_budget_bytes: int = Field(default=256 * 1024, ge=1024)
    """Maximum number of bytes of events that wait for one client. Then the edge stops reading for it."""
    merge: bool = True
    """Whether deltas that wait for a slow client are merged into one frame."""
    drain_s: float = Field(default=10, ge=0)
    """How long open responses may continue after SIGTERM, in seconds."""

    max_streams: int = Field(default=10_000, ge=0)
    """Maximum number of open streams per edge process; 0 means no limit."""
    max_streams_per_principal: int = Field(default=64, ge=0)
    """Maximum number of open streams per principal; 0 means no limit. Not used with TOKENWIRE_AUTH=none."""
    starts_per_minute: float = Field(default=120, ge=0)
    """Maximum number of runs that a principal may start per minute at one edge process; 0 means no limit. Not
    used with TOKENWIRE_AUTH=none."""
    starts_burst: int = Field(default=30, ge=1)
    """Maximum number of runs that a principal may start at once, after a pause."""
    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    """Maximum size of a request body, in bytes."""
    max_header_bytes: int = Field(default=64 * 1024, ge=1024, le=1024 * 1024)
    """Maximum size of the request line and headers together, in bytes (431 or 414 beyond it)."""
    request_timeout_s: float = Field(default=15, gt=0)
    """Maximum time in seconds for each of these: until a client begins a request, sends the headers, and
    sends the body (408 beyond it). Responses are not limited."""
    keep_alive_s: float = Field(default=75, gt=0)
    """How long an idle connection is kept for another request, in seconds. Must be longer than in the proxy
    (nginx: 60 s): otherwise the proxy sends requests on connections that are being closed."""
    max_idle_connections: int = Field(default=4096, ge=1)
    """Maximum number of idle connections. Beyond it the connection that has been idle longest is closed."""
    trust_traceparent: bool = False
    """Whether a `traceparent` from outside becomes the parent of the trace. If not, it becomes a link."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins of other sites whose pages may call the edge, separated by whitespace. None by default."""

    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names under which the edge is served, besides those of loopback: separated by whitespace, without
    ports. Other names are refused with TOKENWIRE_AUTH=none, and otherwise if this is set."""

    @field_validator("cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return read_host(value)

    @field_validator("core")
    @classmethod
    def _addresses(cls, value: str) -> str:
        return ",".join(read_targets(value))

    @field_validator("principal_key", "ticket_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        require_key_length(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.core_tls_cert is None) != (self.core_tls_key is None):
            raise ValueError("TOKENWIRE_CORE_TLS_CERT and TOKENWIRE_CORE_TLS_KEY must be set together")
        if self.core_tls_cert is not None and self.core_tls_ca is None:
            raise ValueError("TOKENWIRE_CORE_TLS_CERT needs TOKENWIRE_CORE_TLS_CA")
        return self

    @model_validator(mode="after")
    def _separates_owners(self) -> Self:
        proof = "" if self.auth == "none" else f"TOKENWIRE_AUTH={self.auth}"
        require_separation(proof, key=self.principal_key.get_secret_value(), shared_owner=self.shared_owner)
        return self

    @model_validator(mode="after")
    def _fair(self) -> Self:
        if self.auth != "none":
            require_share(*self._stream_share())
        return self

    def share_warnings(self) -> list[str]:
        """Return what an operator should know of limits that let one principal lock others out."""
        return [] if self.auth == "none" else unlimited_share(*self._stream_share())

    def _stream_share(self) -> tuple[str, int, str, int]:
        """Return the limit of each principal beside that of all."""
        return (
            *("TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL", self.max_streams_per_principal),
            *("TOKENWIRE_MAX_STREAMS", self.max_streams),
        )

    @property
    def core_targets(self) -> tuple[str, ...]:
        """HOST:PORT of each core."""
        return tuple(self.core.split(","))

    def link_settings(self) -> LinkSettings:
        """Return how runs are carried from the cores."""
        return LinkSettings(self.link == "auto", self.client_budget_bytes)

    def core_security(self) -> CoreSecurity:
        """Return how cores are spoken to.

        Raises:
            WrongSettingError: A file can't be read, or certificate and key do not fit.
        """
        key = self.principal_key.get_secret_value()
        if self.core_tls_ca is None:
            return CoreSecurity(principal_key=key)
        cert, private = None, None
        if self.core_tls_cert is not None and self.core_tls_key is not None:
            cert, private = read_pair(
                *("TOKENWIRE_CORE_TLS_CERT", self.core_tls_cert),
                *("TOKENWIRE_CORE_TLS_KEY", self.core_tls_key),
            )
        authorities = read_authorities("TOKENWIRE_CORE_TLS_CA", self.core_tls_ca)
        return CoreSecurity(principal_key=key, tls_ca=authorities, tls_cert=cert, tls_key=private)

    def authenticator(self) -> Bearers:
        """Return what tells who is asking.

        Raises:
            ValueError: API keys or JWTs can't be checked with what is set, or `none` is not safe here.
        """
        bearers = self.bearers()
        if bearers is not None:
            return bearers
        if not is_loopback(self.host):
            raise ValueError(
                f"TOKENWIRE_AUTH=none is only for loopback, not for {self.host}: "
                "set TOKENWIRE_AUTH=keys or jwt"
            )
        return NoAuthentication()

    @property
    def has_ticket_key(self) -> bool:
        """Whether a key is set that signs tickets, or one from which it is derived."""
        return bool(self.ticket_key.get_secret_value() or self.principal_key.get_secret_value())

    def tickets(self) -> Tickets:
        """Return what signs and checks tickets."""
        return Tickets(self._ticket_key(), lifetime_s=self.ticket_lifetime_s)

    def timing_tokens(self) -> TimingTokens:
        """Return what signs and checks timing tokens: with the key of tickets."""
        return TimingTokens(self._ticket_key())

    def _ticket_key(self) -> bytes:
        return ticket_key(self.ticket_key.get_secret_value(), self.principal_key.get_secret_value())

    def stream_policy(self) -> StreamPolicy:
        """Return how streams are paced."""
        # Each worker counts its own streams, and those of all come back together.
        return StreamPolicy.of(self, edges=self.workers)

    @property
    def served_hosts(self) -> tuple[str, ...] | None:
        """The host names that requests may be for, besides loopback's; None for any."""
        return self.allowed_hosts if self.auth == "none" or self.allowed_hosts else None

    def limit_policy(self) -> LimitPolicy:
        """Return what the limits are. Where everybody is one principal, there are none for a principal."""
        if self.auth == "none":
            return LimitPolicy(streams=self.max_streams)
        return LimitPolicy(
            self.max_streams, self.max_streams_per_principal, self.starts_per_minute, self.starts_burst
        )
