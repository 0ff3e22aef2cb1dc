"""Where a process listens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from scripts.observe.listening import open_to_others

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells")

LISTEN_ELSEWHERE = """
import socket, sys
listener = socket.create_server(("0.0.0.0", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("address", "family", "is_open"),
    [
        ("127.0.0.1", socket.AF_INET, False),
        ("0.0.0.0", socket.AF_INET, True),
        ("::1", socket.AF_INET6, False),
        ("::", socket.AF_INET6, True),
        ("::ffff:127.0.0.1", socket.AF_INET6, False),
    ],
)
def test_only_what_is_not_loopback_is_open_to_others(
    address: str, family: socket.AddressFamily, is_open: bool
) -> None:
    """Of IPv4 and IPv6, and of IPv4 that is written as IPv6."""
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        listener.listen()
        port = listener.getsockname()[1]
        assert (f"{address} port {port}" in open_to_others(os.getpid())) == is_open


def test_what_a_child_listens_on_counts_as_its_parents() -> None:
    """`tokenwire up` listens on nothing; its core and edge do."""
    child = subprocess.Popen(
        [sys.executable, "-c", LISTEN_ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert f"0.0.0.0 port {port}" in open_to_others(os.getpid())
        child.terminate()
