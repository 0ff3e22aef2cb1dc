"""Quantiles of many durations in little memory."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tokenwire.latency.quantiles import Quantiles


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_are_right_within_two_percent(values: list[int], share: float) -> None:
    """Against the sorted list."""
    quantiles = Quantiles()
    quantiles.add(values[:100])
    quantiles.add(values[100:])
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert exact * (1 - 1 / 32) <= quantiles.at(share) <= exact
    assert quantiles.max == max(values)
    assert quantiles.count == len(values)


def test_without_values_a_quantile_is_zero() -> None:
    """A stream of one token has no gap."""
    assert Quantiles().at(0.99) == 0
