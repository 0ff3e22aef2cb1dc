"""The ports that `tokenwire up` gives to its processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenwire.cli import ports
from tokenwire.cli.up import Plan, claim_ports


def plan(port: int, grpc_port: int) -> Plan:
    return Plan("127.0.0.1", port, grpc_port, workers=1, core_environment={})


def hand_out(monkeypatch: pytest.MonkeyPatch, free: Iterator[int]) -> None:
    """Let the kernel hand out just these for 0."""
    monkeypatch.setattr(ports, "claim", lambda _host, port, **_: port or next(free))


@pytest.mark.parametrize(
    ("port", "grpc_port", "claimed"), [(0, 7, (9, 7)), (7, 0, (7, 9)), (0, 0, (9, 7)), (1, 2, (1, 2))]
)
def test_the_two_ports_are_never_one(
    monkeypatch: pytest.MonkeyPatch, port: int, grpc_port: int, claimed: tuple[int, int]
) -> None:
    """The kernel may hand out the core's port again, since nobody listens there yet."""
    hand_out(monkeypatch, iter([7, 7, 9]))
    assert claim_ports(plan(port, grpc_port)) == claimed


def test_two_given_ports_that_are_one_are_refused() -> None:
    """Before anything is started."""
    free = ports.claim("127.0.0.1", 0, option="")
    with pytest.raises(ports.PortError, match="can't both be"):
        claim_ports(plan(free, free))
