"""Which addresses only this machine reaches."""

from __future__ import annotations

import pytest

from tokenwire.loopback import is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("example.org", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    """Anything else can be reached by others."""
    assert is_loopback(host) is loopback
