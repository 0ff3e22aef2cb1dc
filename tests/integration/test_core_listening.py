"""Where a core listens, and why it can't."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from agent_core.rpc.listening import listen, server_credentials
from agent_core.settings import Settings
from tests.support.certificates import Authority
from tokenwire.addresses import resolve
from tokenwire.settings import WrongSettingError

HAS_IPV6 = Path("/proc/net/if_inet6").exists()


@asynccontextmanager
async def listening(host: str, port: int = 0, settings: Settings | None = None) -> AsyncIterator[int]:
    """Yield the port of a gRPC server that listens there, as the core's does."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    try:
        bound = listen(server, host, port, server_credentials(settings) if settings else None)
        await server.start()
        yield bound
    finally:
        await server.stop(0)


def accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6"),
    [("127.0.0.1", True, False), ("::1", False, True), ("0.0.0.0", True, False), ("::", True, True)],
)
async def test_each_address_is_listened_on_with_its_kind(host: str, ipv4: bool, ipv6: bool) -> None:
    """0.0.0.0 is no IPv6: gRPC itself would open that too, past a firewall that knows only the other."""
    async with listening(host) as port:
        assert (accepts("127.0.0.1", port), accepts("::1", port)) == (ipv4, ipv6)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "localhost"])
async def test_a_port_that_is_taken_is_called_in_use(host: str) -> None:
    """Whether GRPC_VERBOSITY lets gRPC say it or not."""
    other_host = resolve(host).replace("0.0.0.0", "127.0.0.1")
    family = socket.AF_INET6 if ":" in other_host else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((other_host, 0))  # Of `::`, the socket takes IPv4 as well.
        other.listen()
        with pytest.raises(OSError, match="Address already in use"):
            async with listening(host, other.getsockname()[1]):
                pass


async def test_a_second_core_on_one_port_is_refused() -> None:
    """They would share its connections."""
    async with listening("127.0.0.1") as port:
        with pytest.raises(OSError, match="Address already in use"):
            async with listening("127.0.0.1", port):
                pass


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.1", "Cannot assign requested address"),
        ("no.such.host.invalid", "not known|failure in name resolution"),
    ],
)
async def test_an_address_of_others_is_called_so(host: str, why: str) -> None:
    """192.0.2.1 is nobody's (RFC 5737), .invalid is no domain (RFC 2606)."""
    with pytest.raises(OSError, match=why):
        async with listening(host):
            pass


async def test_a_unix_socket_is_listened_on(tmp_path: Path) -> None:
    """Also where a core that was killed has left its name, but not where another one listens."""
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with listening(f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        with pytest.raises(OSError, match="already in use"):
            async with listening(f"unix:{path}"):
                pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


async def test_a_unix_socket_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """A folder that is not there; a file that is no socket, which stays."""
    with pytest.raises(OSError, match="No such file"):
        async with listening(f"unix:{tmp_path}/no/core.sock"):
            pass
    file = tmp_path / "precious"
    file.write_text("data")
    with pytest.raises(OSError, match="is not a socket"):
        async with listening(f"unix:{file}"):
            pass
    assert file.read_text() == "data"


async def test_certificates_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    """The variable and the path, before anything is opened."""
    ours, others = Authority(tmp_path).issue("core"), Authority(tmp_path, "another").issue("other")
    fit = {"grpc_tls_cert": ours.cert, "grpc_tls_key": ours.key, "principal_key": "k" * 32}
    async with listening("127.0.0.1", settings=Settings(**fit)) as port:
        assert accepts("127.0.0.1", port)
    wrong = (
        (
            fit | {"grpc_tls_key": tmp_path / "no.key"},
            f"TOKENWIRE_GRPC_TLS_KEY={tmp_path}/no.key: No such file",
        ),
        (fit | {"grpc_tls_cert": tmp_path}, f"TOKENWIRE_GRPC_TLS_CERT={tmp_path}: Is a directory"),
        (fit | {"grpc_tls_key": others.key}, f"TOKENWIRE_GRPC_TLS_KEY={others.key}: the key is not this"),
        (
            fit | {"grpc_tls_client_ca": ours.key},
            f"TOKENWIRE_GRPC_TLS_CLIENT_CA={ours.key}: no PEM cert",
        ),
    )
    for settings, said in wrong:
        with pytest.raises(WrongSettingError, match=said):
            server_credentials(Settings(**settings))
