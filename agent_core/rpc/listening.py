"""Listening: with which certificate, on which address, and why not."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import grpc.aio

from agent_core.settings import Settings
from tokenwire.addresses import ANY_IPV4, UNIX, address_of, resolve, try_bind
from tokenwire.settings import read_authorities, read_pair


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
