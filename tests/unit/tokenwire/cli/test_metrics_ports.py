"""Which port each process of `tokenwire up` serves its metrics on."""

from __future__ import annotations

import socket

import pytest

from tests.support.processes import free_port
from tokenwire.cli.metrics_ports import PORT, claim_metrics_ports
from tokenwire.cli.ports import PortError


@pytest.mark.parametrize("workers", [1, 2])
def test_without_a_port_none_is_given(workers: int) -> None:
    """The edge serves its metrics beside its routes; several workers choose free ports themselves."""
    assert claim_metrics_ports({}, workers) == ({}, {})


def test_the_ports_follow_each_other() -> None:
    """The core has the one that is set, the edge the next, and its other workers those behind."""
    first = free_port(3)
    assert claim_metrics_ports({PORT: str(first)}, 2) == ({PORT: str(first)}, {PORT: str(first + 1)})


@pytest.mark.parametrize("text", ["0", "none"])
def test_what_is_no_port_is_handed_on(text: str) -> None:
    """Zero is any free one for each, and what is no number is refused by the process that reads it."""
    assert claim_metrics_ports({PORT: text}, 1) == ({}, {})


def test_ports_beyond_the_last_are_refused() -> None:
    """Before anything is started."""
    with pytest.raises(PortError, match=r"TOKENWIRE_METRICS_PORT=65535"):
        claim_metrics_ports({PORT: "65535"}, 1)


def test_a_port_that_a_worker_would_need_is_looked_at() -> None:
    """Before anything is started, too."""
    first = free_port(3)
    with socket.create_server(("127.0.0.1", first + 2)), pytest.raises(PortError, match=str(first + 2)):
        claim_metrics_ports({PORT: str(first)}, 2)
