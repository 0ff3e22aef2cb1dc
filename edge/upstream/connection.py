"""One connection to a core: its gRPC channel, and the rpcs over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from edge.telemetry import client_span
from tokenwire.addresses import channel_options
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1 import agent_service_pb2_grpc as stubs
from tokenwire.v1.link_pb2 import LinkRequest

if TYPE_CHECKING:
    pass

CHANNEL_OPTIONS: Final = (
    # A core that comes back is found within a second: the default back-off grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A second channel is to have a connection of its own: gRPC would share the one that may be broken.
    ("grpc.use_local_subchannel_pool", 1),
    # A core whose packets are lost is noticed within 15 s: the timeout becomes the socket's TCP_USER_TIMEOUT.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Where its kernel, or a proxy, still acknowledges, the link notices within seconds, by its heartbeats
    # (`Member.doubt`). The answers to these pings are for calls without a link. They are waited for long: a
    # core that stands still answers none, and keeps its streams when it goes on.
    ("grpc.http2.ping_timeout_ms", 60_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Backlogs come in messages of up to 1 MiB, and one event may be larger.
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
)


@dataclass(frozen=True, slots=True)
class CoreSecurity:
    """How cores are spoken to."""

    principal_key: str = field(default="", repr=False)
    """Signs on whose behalf calls are made; empty to say nothing."""
    tls_ca: bytes | None = None
    """PEM of the authorities that a core's certificate is checked against; None for no TLS."""
    tls_cert: bytes | None = None
    """PEM of the certificate that the edge shows (mTLS); None for none."""
    tls_key: bytes | None = field(default=None, repr=False)
    """PEM of its key."""


class CoreConnection:
    """A channel to one core. Made inside the event loop that uses it.

    Args:
        target: HOST:PORT, or `unix:PATH`.
        security: How the core is spoken to.
    """

    def __init__(self, target: str, security: CoreSecurity) -> None:
        channel = self._channel = _channel(target, security)
        self.stub: stubs.AgentServiceAsyncStub = stubs.AgentServiceStub(channel)
        """The unary rpcs."""
        # Streamed responses come encoded: whoever reads them knows when they came.
        self.stream_run: Any = channel.unary_stream(
            f"/{client_span.SERVICE}/StreamRun", request_serializer=pb.StreamRunRequest.SerializeToString
        )
        self.follow_run: Any = channel.unary_stream(
            f"/{client_span.SERVICE}/FollowRun", request_serializer=pb.FollowRunRequest.SerializeToString
        )
        self.link: Any = channel.stream_stream(
            f"/{client_span.SERVICE}/Link", request_serializer=LinkRequest.SerializeToString
        )

    @property
    def is_made(self) -> bool:
        """Whether there is a connection, as far as gRPC knows."""
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def close(self, calls_s: float = 0.0) -> None:
        """Close it. Calls that are still open then end as cancelled.

        Args:
            calls_s: How long they may take to end by themselves, in seconds.
        """
        await self._channel.close(calls_s)


def _channel(target: str, security: CoreSecurity) -> grpc.aio.Channel:
    """Return the channel to a core: with TLS when there is an authority to check it against."""
    options = (*CHANNEL_OPTIONS, *channel_options(target))
    if security.tls_ca is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(security.tls_ca, security.tls_key, security.tls_cert)
    return grpc.aio.secure_channel(target, credentials, options=options)
