"""The limits of the edge."""

from __future__ import annotations

from contextlib import ExitStack

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
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(limits.stream("ann", starts=True))
        for _ in range(5):
            with pytest.raises(LimitError) as caught, limits.stream("ann", starts=True):
                pass
            assert limit_of(caught) == "streams_per_principal"
    assert limits.slots.in_use == 0
    limits.count_start("ann")
    with pytest.raises(LimitError) as caught, limits.stream("ann", starts=True):
        pass
    assert limit_of(caught) == "starts_per_minute"
    assert limits.slots.in_use == 0
    with limits.stream("ann", starts=False):
        assert limits.slots.in_use == 1


def test_a_slot_is_released_whatever_ends_the_stream() -> None:
    """Also by what is no Exception."""
    limits = Limits(LimitPolicy(streams=1), lambda: 0)
    for error in (ValueError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), limits.stream("ann", starts=True):
            raise error
    assert (limits.slots.in_use, limits.slots.principals) == (0, 0)


def test_zero_means_without_limit() -> None:
    """Nothing is refused and nobody remembered."""
    limits = Limits(LimitPolicy(), lambda: 0)
    with ExitStack() as held:
        for _ in range(1000):
            held.enter_context(limits.stream("ann", starts=True))
    assert limits.starts.principals == 0
