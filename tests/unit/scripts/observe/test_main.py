"""One `make observe` in a folder, and where each listens."""

from __future__ import annotations

import socket
from dataclasses import astuple
from pathlib import Path

import pytest

from scripts.observe.__main__ import BusyError, only_one
from scripts.observe.ports import find_ports


def test_a_second_one_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """The first one's data stay; once it has ended, another one may begin."""
    with only_one(tmp_path) as data:
        spans = data / "spans.jsonl"
        spans.touch()
        with pytest.raises(BusyError, match="Another one is running"), only_one(tmp_path):
            pass
        assert spans.exists()
    with only_one(tmp_path) as data:
        assert [path.name for path in data.iterdir()] == ["logs"]


def test_a_port_that_is_in_use_is_passed_over() -> None:
    """Each listener has a port of its own; the edge's metrics are beside the core's."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        used = other.getsockname()[1]
        ports = find_ports(used - 1)
    given = {*astuple(ports), ports.core_metrics + 1}
    assert len(given) == len(astuple(ports)) + 1
    assert used not in given
