"""The stamps that a core took of an event, by the clock of who reads them."""

from __future__ import annotations

from typing import Final

from tokenwire.v1.event_pb2 import Event

_NANO: Final = 1_000_000_000


def core_stamps(event: Event, *, clock_tag: int, wall_offset_nano: int) -> tuple[int, int]:
    """Return when an event was yielded and when it was logged, in nanoseconds of our monotonic clock.

    Args:
        event: The event.
        clock_tag: Of our monotonic clock.
        wall_offset_nano: What has to be added to a time of that to get the Unix time.
    """
    timing = event.timing
    if timing.clock_tag == clock_tag:
        return timing.model_nano, timing.logged_nano
    return placed_stamps(event, wall_offset_nano)


def placed_stamps(event: Event, wall_offset_nano: int) -> tuple[int, int]:
    """Return the stamps that another machine took of an event, placed by its wall clock, which may be off.

    Args:
        event: The event.
        wall_offset_nano: What has to be added to a time of our monotonic clock to get the Unix time.
    """
    model, logged = event.timing.model_nano, event.timing.logged_nano
    created = event.create_time.seconds * _NANO + event.create_time.nanos - wall_offset_nano
    return created, created + logged - model if logged else 0
