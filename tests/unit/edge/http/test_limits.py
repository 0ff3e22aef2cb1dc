"""The limits of the edge."""

from __future__ import annotations

import pytest

from edge.http.limits import LimitError, LimitPolicy, Limits


def limit_of(caught: pytest.ExceptionInfo[LimitError]) -> str:
    assert (caught.value.code, caught.value.http_status) == ("RESOURCE_EXHAUSTED", 429)
    return caught.value.details["limit"]


def test_a_stream_that_may_not_start_holds_no_slot() -> None:
    """And one without a slot counts as no start."""
    limits = Limits(
        LimitPolicy(streams=5, streams_per_principal=2, starts_per_minute=1, starts_burst=3), lambda: 0
    )
    for _ in range(2):
        limits.take_stream("ann", starts=True)
    for _ in range(5):
        with pytest.raises(LimitError) as caught:
            limits.take_stream("ann", starts=True)
        assert limit_of(caught) == "streams_per_principal"
    for _ in range(2):
        limits.release_stream("ann")
    assert limits.slots.in_use == 0
    limits.count_start("ann")
    with pytest.raises(LimitError) as caught:
        limits.take_stream("ann", starts=True)
    assert limit_of(caught) == "starts_per_minute"
    assert limits.slots.in_use == 0
    limits.take_stream("ann", starts=False)
    assert limits.slots.in_use == 1


def test_zero_means_without_limit() -> None:
    """Nothing is refused and nobody remembered."""
    limits = Limits(LimitPolicy(), lambda: 0)
    for _ in range(1000):
        limits.take_stream("ann", starts=True)
    assert limits.starts.principals == 0
