"""What an edge refuses and warns of before it serves."""

import pytest
from pydantic import ValidationError

from edge.settings import EdgeSettings

KEYS = {"auth": "keys", "api_keys": f"ann sha256:{'0' * 64}", "principal_key": "k" * 32}


def test_one_principal_may_not_have_all_streams() -> None:
    """In a line that names both variables and their values; where all are one it does not matter."""
    limits = {"max_streams": 64, "max_streams_per_principal": 64}
    with pytest.raises(ValidationError) as caught:
        EdgeSettings(**KEYS, **limits)
    message = caught.value.errors()[0]["msg"]
    assert "TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL (64)" in message
    assert "TOKENWIRE_MAX_STREAMS (64)" in message
    EdgeSettings(**limits)


def test_a_principal_without_a_limit_is_warned_of() -> None:
    """The defaults pass silently, and so does what has no limit for all either."""
    (warning,) = EdgeSettings(**KEYS, max_streams_per_principal=0).share_warnings()
    assert warning.startswith("TOKENWIRE_MAX_STREAMS_PER_PRINCIPAL is 0")
    assert EdgeSettings(**KEYS).share_warnings() == []
    assert EdgeSettings(**KEYS, max_streams=0, max_streams_per_principal=0).share_warnings() == []
    assert EdgeSettings(max_streams_per_principal=0).share_warnings() == []
