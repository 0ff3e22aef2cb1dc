"""Which port each process of `tokenwire up` serves its metrics on."""

from __future__ import annotations

import pytest

from tests.support.processes import free_port
from tokenwire.cli.metrics_ports import PORT, claim_metrics_ports
from tokenwire.cli.ports import PortError


def test_one_edge_serves_its_metrics_beside_its_routes() -> None:
    """Nothing is asked for, so neither process is given a port."""
    assert claim_metrics_ports({}, 1) == ({}, ({},))


def test_edges_that_share_a_port_have_their_own_for_metrics() -> None:
    """At the shared one each scrape would meet another process, and counters would go back."""
    assert claim_metrics_ports({}, 2) == ({}, ({PORT: "0"}, {PORT: "0"}))


def test_the_ports_follow_each_other() -> None:
    """The core has the one that is set, each edge the next."""
    first = free_port()
    given = claim_metrics_ports({PORT: str(first)}, 2)
    assert given == ({PORT: str(first)}, ({PORT: str(first + 1)}, {PORT: str(first + 2)}))


@pytest.mark.parametrize("text", ["0", "none"])
def test_what_is_no_port_is_handed_on(text: str) -> None:
    """Zero is any free one for each, and what is no number is refused by the process that reads it."""
    assert claim_metrics_ports({PORT: text}, 1) == ({}, ({},))


def test_ports_beyond_the_last_are_refused() -> None:
    """Before anything is started."""
    with pytest.raises(PortError, match=r"TOKENWIRE_METRICS_PORT=65535"):
        claim_metrics_ports({PORT: "65535"}, 1)
