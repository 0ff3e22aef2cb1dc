"""Listening: with which certificate and limits, on which address, and why not."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from agent_core.rpc.validation import max_request_bytes
from agent_core.settings import Settings
from tokenwire.addresses import ANY_IPV4, UNIX, address_of, resolve, try_bind
from tokenwire.settings import read_authorities, read_pair

MAX_METADATA_BYTES: Final = 16 * 1024
"""The most metadata of one call. gRPC's own limits refuse at random between 8 and 16 KiB."""

UNARY_STREAMS: Final = 1_000
"""How many calls one connection may make besides as many streams as the core allows: a call above that
would wait at the caller without a word."""

IDLE_CONNECTION_S: Final = 300
"""How long a connection may stay without a call. Clients make another one when they need it."""

HANDSHAKE_S: Final = 10
"""How long a new connection may take to speak TLS and HTTP/2; gRPC's own limit is 120 s."""


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Return what the core shows and whom it lets in; None for plaintext.

    Raises:
        WrongSettingError: A file can't be read, or certificate and key do not fit.
    """
    if settings.grpc_tls_cert is None or settings.grpc_tls_key is None:
        return None
    cert, key = read_pair(
        *("TOKENWIRE_GRPC_TLS_CERT", settings.grpc_tls_cert),
        *("TOKENWIRE_GRPC_TLS_KEY", settings.grpc_tls_key),
    )
    client_ca = settings.grpc_tls_client_ca
    authorities = read_authorities("TOKENWIRE_GRPC_TLS_CLIENT_CA", client_ca) if client_ca else None
    return grpc.ssl_server_credentials(
        [(key, cert)], root_certificates=authorities, require_client_auth=authorities is not None
    )


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Return how the port behaves below the rpcs."""
    options = [
        # Two cores on one port would share its connections, and each would know half of the runs.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_request_bytes(settings.max_message_bytes)),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
        ("grpc.max_connection_idle_ms", IDLE_CONNECTION_S * 1000),
        # A client that is gone without a word is noticed within 15 s.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients may do the same, and more often: by default the server answers fast pings with
        # GOAWAY "too many pings".
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
    if settings.max_follows:
        options.append(("grpc.max_concurrent_streams", settings.max_follows + UNARY_STREAMS))
    return options


def listen(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    """Return the port that is now listened on; a Unix socket has none, and gives 0.

    Args:
        server: The server, not started.
        host: From `tokenwire.addresses.read_grpc_host`.
        port: 0 for any free one.
        credentials: For TLS; None for plaintext.

    Raises:
        OSError: The address can't be had. Its `strerror` says why.
    """
    add: Callable[[str], int] = (
        partial(server.add_secure_port, server_credentials=credentials)
        if credentials is not None
        else server.add_insecure_port
    )
    if host.startswith(UNIX):
        return _listen_unix(add, host)
    # gRPC does not say why it can't, or only on standard error, unless GRPC_VERBOSITY=NONE; and where IPv6 is
    # taken, it is content with IPv4. So the system is asked first. What changes before gRPC comes is rare.
    address = resolve(host)
    try_bind(address, port)
    try:
        return _add_ipv4_alone(add, port) if address == ANY_IPV4 else add(address_of(address, port))
    except RuntimeError as error:
        raise OSError(None, str(error)) from error


def _add_ipv4_alone(add: Callable[[str], int], port: int) -> int:
    """Return the port of all IPv4 addresses that is now listened on.

    gRPC takes 0.0.0.0 for all addresses, of IPv6 too, unless the port is taken there: so it is, meanwhile.
    """
    port = port or try_bind(ANY_IPV4, 0)
    try:
        ipv6 = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:  # There is no IPv6 here.
        return add(address_of(ANY_IPV4, port))
    with ipv6:
        ipv6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            ipv6.bind(("::", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            # There is none either: it is turned off.
        return add(address_of(ANY_IPV4, port))


def _listen_unix(add: Callable[[str], int], address: str) -> int:
    """Listen on a Unix socket, unless another core does.

    gRPC would take its name away from a server that listens.
    """
    path = Path(address.removeprefix(UNIX))
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, "a file of that name exists and is not a socket")
    _try_bind_unix(path)
    try:
        add(address)
    except RuntimeError as error:
        raise OSError(None, str(error)) from error
    return 0


def _try_bind_unix(path: Path) -> None:
    """Raise the reason why there can't be a Unix socket of that name. One that was left there goes."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()
