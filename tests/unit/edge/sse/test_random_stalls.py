"""Stalls that are planted at random: blamed on the hop that was held, at the token that it held."""

from __future__ import annotations

import random
from typing import Final

import pytest

from tests.support.simulated_stream import MS, Pace, Plant, Simulation, assert_segments
from tokenwire.latency import HOPS

STALL_NANO: Final = 15 * MS
SHORTEST_MS: Final = 20
LONGEST_MS: Final = 3_000
PLANTS: Final = 100
PLANTS_A_STREAM: Final = 5

APART_NANO: Final = 500 * MS
"""How long nothing is planted after what queued up behind a stall has gone."""


def random_pace(chance: random.Random) -> Pace:
    """Return a pace of 120 to 2,000 tokens a second, whose own gaps are no stalls."""
    progress_every = chance.choice([0, 0, 7])
    return Pace(
        gap_nano=round(chance.uniform(0.5, 4 if progress_every else 8) * MS),
        jitter=chance.uniform(0, 0.5),
        progress_every=progress_every,
        log_nano=round(chance.uniform(0.03, 4) * MS),
        link_nano=round(chance.choice([0.1, 1, 40, 150]) * MS),
        budget_bytes=chance.choice([2_048, 65_536, 262_144]),
        merge=chance.random() < 0.8,
    )


def random_stream(chance: random.Random, skew_nano: int | None) -> tuple[Simulation, int]:
    """Return a stream with some plants, and how many events it has."""
    pace, plants, sequence = random_pace(chance), [], 20
    for _ in range(PLANTS_A_STREAM):
        nano = round(chance.triangular(SHORTEST_MS, LONGEST_MS, SHORTEST_MS) * MS)
        hop = chance.choice(HOPS[:5])
        sequence += chance.randrange(200)
        plants.append(Plant(hop, sequence, nano))
        # Behind all but `model` the tokens of its whole time queue up.
        sequence += round((APART_NANO + (nano if hop != "model" else 0)) / pace.gap_nano)
    return Simulation(chance, pace, plants, STALL_NANO, skew_nano), sequence


@pytest.mark.parametrize(("seed", "skew_ms"), [(1, None), (3, 1_500), (4, -1_500), (5, 86_400_000)])
def test_of_100_random_stalls_99_in_100_are_blamed_on_the_right_hop_and_token(
    seed: int, skew_ms: int | None
) -> None:
    """From 20 ms to 3 s, at any pace, on any link, between any clocks; and no other gap is called a stall."""
    chance = random.Random(seed)  # noqa: S311 # no secret
    skew_nano = None if skew_ms is None else skew_ms * MS
    planted = right = 0
    wrong: list[str] = []
    while planted < PLANTS:
        stream, count = random_stream(chance, skew_nano)
        stream.run(count)
        assert_segments(stream.segments, count, skewed=skew_nano is not None)
        told = [(stall.hop, stall.sequence) for stall in stream.stalls]
        expected = [(plant.hop, stream.expected(plant)) for plant in stream.plants]
        assert stream.series.stalls == len(told)
        planted += len(expected)
        right += len(set(told) & set(expected))
        wrong += [f"not planted: {each}" for each in told if each not in expected]
        wrong += [f"not told: {each}" for each in expected if each not in told]
        if skew_nano is not None:
            assert stream.offset is not None
            assert abs(stream.offset.nano + skew_nano) <= stream.offset.error_nano
    assert right >= 0.99 * planted, wrong
    assert not [each for each in wrong if each.startswith("not planted")]
