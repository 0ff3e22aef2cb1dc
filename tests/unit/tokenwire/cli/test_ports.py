import socket

import pytest

from tokenwire.cli import ports


def test_a_free_port_can_be_had() -> None:
    """The port that was claimed can be bound at once."""
    port = ports.claim("127.0.0.1", 0, option="--port")
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        assert port > 0


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_a_port_in_use_is_said_with_the_option_that_changes_it(*, shared: bool) -> None:
    """Even a port that its server shares out: two cores on one port would each get half of the calls."""
    with socket.socket() as server:
        if shared:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(ports.PortError, match=rf"Port {port} .* in use .* --port"):
            ports.claim("127.0.0.1", port, option="--port")


def test_an_address_of_another_machine_is_refused() -> None:
    """192.0.2.1 is nobody's (RFC 5737)."""
    with pytest.raises(ports.PortError, match="no address"):
        ports.claim("192.0.2.1", 0, option="--port")


def test_a_server_that_listens_everywhere_is_reached_on_loopback() -> None:
    """0.0.0.0 is no address to open in a browser."""
    assert [ports.reachable(host) for host in ("0.0.0.0", "::", "10.1.2.3")] == [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
    ]
